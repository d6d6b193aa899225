package doccheck_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Every relative link points to a file, and every anchor to a heading.
func TestLinks(t *testing.T) {
	t.Parallel()
	list := everyPage(t)
	anchors := make(map[string]map[string]bool)
	for _, p := range list {
		anchors[p.path] = p.anchors()
	}
	for _, p := range list {
		for _, target := range p.links() {
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path, anchor, hasAnchor := strings.Cut(target, "#")
			file := p.path
			if path != "" {
				file = filepath.ToSlash(filepath.Join(filepath.Dir(p.path), path))
				_, err := os.Stat(filepath.Join(root, file))
				assert.NoError(t, err, "%s links to %s", p.path, target)
			}
			if hasAnchor {
				assert.True(t, anchors[file][anchor], "%s links to %s: there is no such heading", p.path, target)
			}
		}
	}
}
