package doccheck_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testName = regexp.MustCompile(`^(Test|Fuzz|Example|Benchmark)[A-Z_]\w*$`)

// allTests returns the names of all tests in the repository, including those of the benchmarks
// module.
func allTests(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "bin" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil && testName.MatchString(function.Name.Name) {
				names[function.Name.Name] = true
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

// Every test that a page names exists.
func TestNames(t *testing.T) {
	t.Parallel()
	exist := allTests(t)
	named := 0
	for _, p := range everyPage(t) {
		for _, name := range p.spans() {
			if testName.MatchString(name) {
				named++
				assert.True(t, exist[name], "%s names the test %s, which does not exist", p.path, name)
			}
		}
	}
	assert.NotZero(t, named)
}

// Every invariant in docs/design.md names a test that proves it. An invariant is a list item that
// starts with a name in bold.
func TestInvariants(t *testing.T) {
	t.Parallel()
	design := pages(t, "docs/design.md")[0]
	items := regexp.MustCompile(`(?ms)^- \*\*(.+?)\*\*.*?(?:\n\n|\n- |\n#|\z)`)
	invariants := 0
	for rest := design.text; ; {
		at := items.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		title, item := rest[at[2]:at[3]], rest[at[0]:at[1]]
		invariants++
		proved := false
		for _, name := range parse("", item).spans() {
			proved = proved || testName.MatchString(name)
		}
		assert.True(t, proved, "docs/design.md: the invariant %q names no test", title)
		rest = rest[at[3]:]
	}
	assert.NotZero(t, invariants)
}
