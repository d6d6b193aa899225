package doccheck_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// text returns the string literal that an expression is or ends with. "… " replaces what precedes
// it.
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

// line returns the text that a call logs; empty: it is no log call.
func line(call *ast.CallExpr) string {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) < 2 || method.Sel.Name != "Error" && method.Sel.Name != "Info" {
		return ""
	}
	return text(call.Args[0])
}

// work returns the kind of work that a literal names, such as outage{what: "reading"} or
// periodicTask{"trimming", ...}; empty: it names none.
func work(literal *ast.CompositeLit) string {
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && strings.EqualFold(key.Name, "what") {
				return text(pair.Value)
			}
		}
	}
	if name, ok := literal.Type.(*ast.Ident); ok && strings.EqualFold(name.Name, "periodicTask") && len(literal.Elts) > 0 {
		return text(literal.Elts[0])
	}
	return ""
}

// logged returns the texts of the log lines in a file, and the kinds of work with log lines for
// failure and recovery.
func logged(t *testing.T, path string) (lines, works []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			lines = append(lines, line(n))
		case *ast.CompositeLit:
			works = append(works, work(n))
		}
		return true
	})
	empty := func(s string) bool { return s == "" }
	return slices.DeleteFunc(lines, empty), slices.DeleteFunc(works, empty)
}

// docs/logs.md has one row for each line that the library logs.
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
