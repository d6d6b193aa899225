package doccheck_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listing returns the output of a go command that runs in the root folder.
func listing(t *testing.T, args ...string) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir, command.Stderr = root, os.Stderr
	out, err := command.Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}

// sources is a template for go list. It lists the non-test files of a package.
const sources = `{{if not .Standard}}{{range .GoFiles}}{{$.Dir}}/{{.}} {{end}}{{range .IgnoredGoFiles}}{{$.Dir}}/{{.}} {{end}}` +
	`{{range .EmbedFiles}}{{$.Dir}}/{{.}} {{end}}{{end}}`

// ours returns those absolute paths that are in the repository, relative to its root.
func ours(t *testing.T, paths []string) (files []string) {
	t.Helper()
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	for _, path := range paths {
		if file, err := filepath.Rel(top, path); err == nil && filepath.IsLocal(file) && !strings.HasSuffix(file, "_test.go") {
			files = append(files, filepath.ToSlash(file))
		}
	}
	require.NotEmpty(t, files)
	return files
}

// The file map in docs/design.md names every file of the library, every other folder, and nothing
// that does not exist. The first column of a row has paths in backticks. A path that ends with a
// slash stands for all files in the folder.
func TestFileMap(t *testing.T) {
	t.Parallel()
	files, folders := make(map[string]bool), []string{}
	row := regexp.MustCompile(`(?m)^\|([^|]*` + "`" + `[^|]*)\|`)
	for _, match := range row.FindAllStringSubmatch(pages(t, "docs/design.md")[0].section(t, "## File map"), -1) {
		for _, path := range parse("", match[1]).spans() {
			_, err := os.Stat(filepath.Join(root, path))
			assert.NoError(t, err, "the file map names %s", path)
			if strings.HasSuffix(path, "/") {
				folders = append(folders, path)
			}
			files[path] = true
		}
	}
	for _, file := range ours(t, listing(t, "list", "-deps", "-f", sources, ".")) {
		assert.True(t, files[file], "the file map lacks %s", file)
	}
	for _, file := range ours(t, listing(t, "list", "-f", sources, "./...")) {
		covered := files[file]
		for _, folder := range folders {
			covered = covered || strings.HasPrefix(file, folder)
		}
		assert.True(t, covered, "the file map lacks %s, or its folder", file)
	}
}
