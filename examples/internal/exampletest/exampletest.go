// Package exampletest runs the examples in their tests.
package exampletest

import (
	"bufio"
	"context"
	"io"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
)

// Timeout is how long an example may take on a busy machine.
const Timeout = time.Minute

// Run is an example's run function.
type Run func(ctx context.Context, out io.Writer) error

// OnEach runs a test with the embedded server and with a real one.
func OnEach(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for name, url := range map[string]string{
		"embedded": "",
		"real":     "redis://" + redistest.Shared().Addr,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("REDIS_URL", url)
			test(t)
		})
	}
}

// Lines runs an example and returns what it prints. It calls seen for each line at once; nil: it
// does not. stop ends the context of the example.
func Lines(t *testing.T, run Run, seen func(line string, stop func())) []string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), Timeout)
	defer stop()
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(run(ctx, writer)) }()
	lines, err := Scan(reader, func(line string) {
		if seen != nil {
			seen(line, stop)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// Scan reads all lines, and calls seen for each at once.
func Scan(reader io.Reader, seen func(line string)) (lines []string, err error) {
	scanner := bufio.NewScanner(reader)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
		seen(scanner.Text())
	}
	return lines, scanner.Err()
}
