package command

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exit returns the exit code of a process.
func exit(t *testing.T, err error) int {
	t.Helper()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

func TestProcess_exitCodes(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 1)...)
	for code, args := range map[int][]string{
		ExitOK: {"groups", p.Topic}, ExitError: {"groups", p.Topic + "x"}, ExitUsage: {"groups"}, ExitRefused: {"dead", "drop", p.Topic, "--all"},
	} {
		var errors bytes.Buffer
		cmd := p.command(args...)
		cmd.Stderr = &errors
		assert.Equal(t, code, exit(t, cmd.Run()), args)
		assert.Equal(t, code != ExitOK, errors.Len() > 0, "%s: %s", args, &errors)
	}
}

// A server that is away is one line, without the password, and nothing of go-redis.
func TestProcess_noServer(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.url = "redis://user:hunter2@127.0.0.1:1"
	out, err := p.command("topics").CombinedOutput()
	assert.Equal(t, ExitError, exit(t, err))
	assert.Equal(t, 1, strings.Count(string(out), "\n"), "%s", out)
	assert.Contains(t, string(out), "(set REDIS_URL or --url")
	assert.NotContains(t, string(out), "hunter2")
	p.run("topics", "--url", "redis://user:hunter2@localhost").fails(ExitUsage, "--url has a password")
	p.run("topics", "--url", "redis://localhost?master_name=m&sentinel_password=x").fails(ExitUsage, "--url has a password")
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	p := newProgramOn(fixture.NewOn(t, redistest.Start(t)))
	p.Server.Pause()
	defer p.Server.Resume()
	begin := time.Now()
	p.run("topics", "--timeout", "300ms").fails(ExitError, "raise --timeout")
	assert.Less(t, time.Since(begin), fixture.Soon)
}

// `redisstream tail | head -1` ends quietly.
func TestProcess_closedPipe(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Heavy("m", 40, 20_000)...) // more than a pipe holds
	cmd := p.command("tail", p.Topic, "--full", "-n", "0")
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(out).ReadByte()
	require.NoError(t, err)
	require.NoError(t, out.Close())
	err = cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	assert.True(t, err == nil || status.Signal() == syscall.SIGPIPE, "%v", err)
	assert.Empty(t, errors.String())
}

func TestProcess_follow(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("before", 2)...)
	cmd := p.command("tail", p.Topic, "-f", "-n", "1", "--where", `payload != "after-0"`)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	assert.Contains(t, lines.Text(), "before-1")
	p.publishTo(p.Topic, fixture.Numbered("after", 2)...)
	require.True(t, lines.Scan())
	assert.Contains(t, lines.Text(), "after-1")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	assert.False(t, lines.Scan())
	assert.Zero(t, exit(t, cmd.Wait()), "SIGINT is the way to end it")
}

// On a terminal a change asks.
func TestProcess_asksOnATerminal(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.letters(3)
	for answer, code := range map[string]int{"n\r": ExitRefused, "\x03": ExitInterrupted} {
		assert.Equal(t, code, p.answer(answer, "dead", "drop", p.Topic, "--all"))
		assert.Equal(t, 3, p.dead(), "nothing was changed")
	}
	assert.Zero(t, p.answer("y\r", "dead", "drop", p.Topic, "--all"))
	assert.Zero(t, p.dead())
}

// answer runs a command on a terminal, answers its question, and returns the exit code.
func (p *program) answer(answer string, args ...string) int {
	p.Helper()
	cmd := p.command(args...)
	terminal, err := pty.Start(cmd)
	require.NoError(p, err)
	defer terminal.Close()
	seen := bufio.NewReader(terminal)
	question, err := seen.ReadString(']')
	require.NoError(p, err)
	assert.Contains(p, question, "Drop 3 dead letters of "+p.Topic+"? [y/N]")
	_, err = terminal.WriteString(answer)
	require.NoError(p, err)
	_, _ = io.Copy(io.Discard, seen) // a terminal ends with an error
	return exit(p.T, cmd.Wait())
}

func TestProcess_topOnATerminal(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 1)...)
	require.NoError(t, p.Client.XGroupCreate(t.Context(), p.Topic, "g", "0").Err())
	cmd := p.command("top", p.Topic, "--interval", "100ms")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 10, Cols: 200})
	require.NoError(t, err)
	defer terminal.Close()
	seen := bufio.NewReader(terminal)
	for range 2 {
		var frame strings.Builder
		for !strings.HasSuffix(frame.String(), clearRest) {
			part, err := seen.ReadString('J')
			require.NoError(t, err)
			frame.WriteString(part)
		}
		assert.Contains(t, frame.String(), p.Topic)
	}
	_, err = terminal.WriteString("\x03")
	require.NoError(t, err)
	rest, _ := io.ReadAll(seen)
	assert.True(t, bytes.HasSuffix(rest, []byte(leaveScreen)), "%q", rest)
	assert.Zero(t, exit(t, cmd.Wait()))
}

func TestProcess_ui(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 1)...)
	cmd := p.command("ui", "--listen", "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	address := strings.TrimPrefix(lines.Text(), "Serving ")
	get := func(host string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"topic?topic="+p.Topic, nil)
		require.NoError(t, err)
		request.Host, request.Close = host, true
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	code, body := get("")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, p.Topic)
	code, _ = get("evil.example:80")
	assert.Equal(t, http.StatusForbidden, code, "a foreign name leads here")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	assert.Zero(t, exit(t, cmd.Wait()))
}
