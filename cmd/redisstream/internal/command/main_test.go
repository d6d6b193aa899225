package command

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary the program, for tests of processes.
const asProgram = "REDISSTREAM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main())
	}
	redistest.Main(m)
}

// program is a test that runs commands on the server of a Bench.
type program struct {
	*fixture.Bench

	url      string
	terminal bool   // standard input and output are one
	input    string // the standard input
}

func newProgram(t *testing.T) *program {
	t.Helper()
	return newProgramOn(fixture.New(t))
}

func newProgramOn(b *fixture.Bench) *program {
	b.Helper()
	return &program{Bench: b, url: "redis://" + b.Server.Addr}
}

// result is what a command wrote, and its exit code.
type result struct {
	t        *testing.T
	out, err string
	code     int
}

// run runs a command in this process.
func (p *program) run(args ...string) result {
	p.Helper()
	var out, errors bytes.Buffer
	code := Run(p.Context(), p.streams(&out, &errors), args)
	return result{p.T, out.String(), errors.String(), code}
}

func (p *program) streams(out, errors *bytes.Buffer) Streams {
	return Streams{
		In: strings.NewReader(p.input), Out: out, Err: errors, InTerminal: p.terminal, OutTerminal: p.terminal,
		Size: func() (width, height int) { return 60, 5 },
		Getenv: func(name string) string {
			if name == "REDIS_URL" {
				return p.url
			}
			return ""
		},
	}
}

// do runs a command that must succeed, and returns what it wrote.
func (p *program) do(args ...string) string {
	p.Helper()
	r := p.run(args...)
	require.Zero(p, r.code, "%s: %s%s", args, r.out, r.err)
	return r.out
}

// ask runs a command with -o json and decodes its document.
func ask[V any](p *program, args ...string) V {
	p.Helper()
	var v V
	require.NoError(p, json.Unmarshal([]byte(p.do(append(args, "-o", "json")...)), &v))
	return v
}

// fails requires an exit code and one line of error with this text.
func (r result) fails(code int, contains string) {
	r.t.Helper()
	require.Equal(r.t, code, r.code, "%s%s", r.out, r.err)
	require.Contains(r.t, r.err, contains)
	require.Equal(r.t, 1, strings.Count(r.err, "\n"), "%s", r.err)
}

// command returns the program as a process.
func (p *program) command(args ...string) *exec.Cmd {
	p.Helper()
	binary, err := os.Executable()
	require.NoError(p, err)
	cmd := exec.CommandContext(p.Context(), binary, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "REDIS_URL="+p.url)
	return cmd
}

// eventually waits until a condition holds.
func (p *program) eventually(holds func() bool, what string) {
	p.Helper()
	require.Eventually(p, holds, fixture.Soon, 20*time.Millisecond, what)
}
