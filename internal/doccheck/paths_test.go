package doccheck_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
)

// fileName matches a path that is relative to the root, or the name of a script.
var fileName = regexp.MustCompile(`^[\w./-]+\.(go|lua|md|yml|svg)$`)

// Every file that a page names exists.
func TestPaths(t *testing.T) {
	t.Parallel()
	for _, p := range everyPage(t) {
		for _, name := range p.spans() {
			if fileName.MatchString(name) {
				assert.True(t, exists(name) || exists("internal/stream/scripts/"+name), "%s names %s, which does not exist", p.path, name)
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(root, path))
	return err == nil
}
