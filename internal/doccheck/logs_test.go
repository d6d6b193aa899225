package doccheck_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// text returns the string that an expression is, or ends with; "… " stands for what comes before it.
func text(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		if end := text(e.Y); end != "" {
			return "… " + strings.TrimSpace(end)
		}
	}
	return ""
}

// logged returns the texts of the log lines in a file, and the kinds of work that an outage or a periodic task names.
func logged(t *testing.T, path string) (lines, works []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			method, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || len(n.Args) < 2 || method.Sel.Name != "Error" && method.Sel.Name != "Info" {
				break
			}
			if line := text(n.Args[0]); line != "" {
				lines = append(lines, line)
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && strings.EqualFold(key.Name, "what") && text(n.Value) != "" {
				works = append(works, text(n.Value))
			}
		}
		return true
	})
	return lines, works
}

// docs/logs.md has a row for each line that the library logs, and no others.
func TestLogLines(t *testing.T) {
	t.Parallel()
	var lines, works []string
	for _, file := range ours(t, listing(t, "list", "-deps", "-f", sources, ".")) {
		if strings.HasSuffix(file, ".go") {
			inFile, kinds := logged(t, filepath.Join(root, file))
			lines, works = append(lines, inFile...), append(works, kinds...)
		}
	}
	manual := pages(t, "docs/logs.md")[0]
	rows := func(titles ...string) (list []string) {
		for _, title := range titles {
			for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(manual.section(t, title), -1) {
				list = append(list, match[1])
			}
		}
		return list
	}
	assert.ElementsMatch(t, lines, rows("## Errors", "## Information"))
	assert.ElementsMatch(t, works, rows("## Kinds of work"))
}
