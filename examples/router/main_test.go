package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/examples/internal/exampletest"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestRouter(t *testing.T) {
	exampletest.OnEach(t, func(t *testing.T) {
		var w watch
		lines := exampletest.Lines(t, run, func(line string, stop func()) { w.see(line, stop) })
		require.Less(t, time.Since(w.stopped), 5*time.Second, "it waited for a time-out")
		w.check(t, lines)
	})
}

// TestInterrupt runs the program in its own process.
func TestInterrupt(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "router")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	exampletest.OnEach(t, func(t *testing.T) {
		program := exec.CommandContext(t.Context(), binary)
		var complaints strings.Builder
		program.Stderr = &complaints
		stdout, err := program.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, program.Start())
		hung := time.AfterFunc(exampletest.Timeout, func() { _ = program.Process.Kill() })
		defer hung.Stop()

		var w watch
		lines, err := exampletest.Scan(stdout, func(line string) {
			w.see(line, func() { _ = program.Process.Signal(os.Interrupt) })
		})
		require.NoError(t, err)
		require.NoError(t, program.Wait(), "exit code")
		require.Empty(t, complaints.String())
		w.check(t, lines)
	})
}

var fates = map[string][]string{
	"order 1": {"billing", "billed", "invoice sent"},
	"order 2": {"billing", "failed: the printer is jammed", "billing", "billed", "invoice sent"},
	"order 3": {
		"billing", "failed: no address",
		"billing", "failed: no address",
		"billing", "failed: no address",
		"in the poison queue: no address",
	},
}

// watch stops the router while it handles an order, after the first orders have reached their
// fates.
type watch struct {
	met     int    // number of orders that reached their fates
	order   string // the order in the handler when the router stops
	stopped time.Time
}

func (w *watch) see(line string, stop func()) {
	order, event, _ := strings.Cut(line, ": ")
	if fate := fates[order]; len(fate) > 0 && event == fate[len(fate)-1] {
		w.met++
	}
	if w.met == len(fates) && w.order == "" && event == "billing" {
		w.order, w.stopped = order, time.Now()
		stop()
	}
}

func (w *watch) check(t *testing.T, lines []string) {
	t.Helper()
	require.Equal(t, "Stopped. What was being handled is done.", lines[len(lines)-1])
	for order, fate := range fates {
		require.Equal(t, fate, of(order, lines))
	}
	require.Contains(t, of(w.order, lines), "billed", "the handler did not finish")
}

// of returns the events of an order.
func of(order string, lines []string) (fate []string) {
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, order+": "); ok {
			fate = append(fate, rest)
		}
	}
	return fate
}
