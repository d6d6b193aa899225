package doccheck_test

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/millrace/redisstream" // so that a change of the library runs the tests again
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// snippet is a Go code block of a page.
type snippet struct {
	block

	page  string
	begin string // the code that it needs before it
	end   string // and after it
}

// wrapper is a function around a fragment: a snippet that is neither a file nor a list of
// declarations. A fragment may use the parameters without declaring them.
const wrapper = `func fragment%d(ctx context.Context, client redis.UniversalClient, logger watermill.LoggerAdapter,
	publisher message.Publisher, subscriber message.Subscriber, router *message.Router,
	messages <-chan *message.Message, msg *message.Message, topic string) error {
`

// imports are the packages that snippets without a package clause may use.
var imports = map[string]string{
	"context":     "context",
	"errors":      "errors",
	"fmt":         "fmt",
	"http":        "net/http",
	"log":         "log",
	"slices":      "slices",
	"strings":     "strings",
	"subtle":      "crypto/subtle",
	"time":        "time",
	"admin":       "github.com/millrace/redisstream/admin",
	"adminui":     "github.com/millrace/redisstream/adminui",
	"delay":       "github.com/ThreeDotsLabs/watermill/components/delay",
	"message":     "github.com/ThreeDotsLabs/watermill/message",
	"middleware":  "github.com/ThreeDotsLabs/watermill/message/router/middleware",
	"redis":       "github.com/redis/go-redis/v9",
	"redisstream": "github.com/millrace/redisstream",
	"testing":     "testing",
	"watermill":   "github.com/ThreeDotsLabs/watermill",

	"redisstreamtest": "github.com/millrace/redisstream/redisstreamtest",
}

// snippets returns all Go code blocks of the pages.
func snippets(list []page) (found []snippet) {
	for _, p := range list {
		for _, b := range p.blocks {
			if b.language == "go" {
				found = append(found, wrapped(snippet{block: b, page: p.path}, len(found)))
			}
		}
	}
	return found
}

// wrapped completes a snippet to a file.
func wrapped(s snippet, number int) snippet {
	if s.isFile() {
		return s
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+s.code, 0); err != nil {
		s.begin, s.end = fmt.Sprintf(wrapper, number), "return nil\n}\n"
	}
	lines := []string{"package snippets", "import ("}
	for name, path := range imports {
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(s.begin + s.code) {
			lines = append(lines, fmt.Sprintf("%s %q", name, path))
		}
	}
	s.begin = strings.Join(append(lines, ")", s.begin), "\n")
	return s
}

func (s snippet) isFile() bool { return strings.HasPrefix(s.code, "package ") }

// write writes the snippet to a file. Line directives make the compiler report positions in the
// page.
func (s snippet) write(t *testing.T, file, code string) {
	t.Helper()
	page, err := filepath.Abs(filepath.Join(root, s.page))
	require.NoError(t, err)
	text := fmt.Sprintf("%s//line %s:%d\n%s\n//line end.go:1\n%s", s.begin, page, s.line, code, s.end)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

// run runs a go command in the root, where imports of this module resolve, and returns its output.
func run(t *testing.T, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir, command.Stdout, command.Stderr = root, &out, &problems
	require.NoError(t, command.Run(), "%s%s", out.String(), problems.String())
	return out.String()
}

// Every Go snippet compiles: complete files on their own, all others together as one package.
func TestSnippets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	together := []string{"vet", "-unreachable=false"} // a fragment may end with a return
	for i, s := range snippets(everyPage(t)) {
		file := filepath.Join(dir, fmt.Sprintf("snippet%d.go", i))
		s.write(t, file, s.code)
		if s.isFile() {
			run(t, "vet", file)
		} else {
			together = append(together, file)
		}
	}
	require.Greater(t, len(together), 2)
	run(t, together...)
}

// A Go code block that names a file after its language is that file. So a program that needs other
// modules is compiled in its own.
func TestSnippets_ofFiles(t *testing.T) {
	t.Parallel()
	files := 0
	for _, p := range everyPage(t) {
		for _, b := range p.blocks {
			name, named := strings.CutPrefix(b.language, "go ")
			if !named {
				continue
			}
			files++
			file, err := os.ReadFile(filepath.Join(root, name))
			require.NoError(t, err)
			assert.Equal(t, string(file), b.code, "%s:%d is not %s", p.path, b.line, name)
		}
	}
	assert.NotZero(t, files)
}

// The program on the README's first screen runs, and prints what the next code block shows.
func TestReadmeProgram(t *testing.T) {
	t.Parallel()
	const address, firstScreen = "localhost:6379", 75
	readme := pages(t, "README.md")[0]
	for i, b := range readme.blocks {
		s := snippet{block: b, page: readme.path}
		if b.language != "go" || !s.isFile() {
			continue
		}
		assert.Less(t, b.line, firstScreen)
		require.Equal(t, 1, strings.Count(b.code, address))
		file := filepath.Join(t.TempDir(), "main.go")
		s.write(t, file, strings.Replace(b.code, address, redistest.Start(t).Addr, 1))
		output := readme.blocks[i+1]
		require.Equal(t, "text", output.language)
		assert.Equal(t, output.code, run(t, "run", file))
		return
	}
	assert.Fail(t, "the README has no complete program")
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ code, begin, end string }{
		"file":         {"package main\n", "", ""},
		"declarations": {"func f() error { return errors.New(\"x\") }\n", "package snippets\nimport (\nerrors \"errors\"\n)\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := wrapped(snippet{block: block{code: test.code}}, 1)
			assert.Equal(t, test.begin, s.begin)
			assert.Equal(t, test.end, s.end)
		})
	}
	fragment := wrapped(snippet{block: block{code: "return publisher.Publish(topic, msg)\n"}}, 7)
	assert.Contains(t, fragment.begin, "func fragment7(ctx context.Context")
	assert.Equal(t, "return nil\n}\n", fragment.end)
}
