package redistest

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNoClock reports that this machine cannot build the library that gives a server its own clock.
var ErrNoClock = errors.New("a server with a clock of its own needs Linux and a C compiler as cc (apt-get install gcc libc6-dev)")

//go:embed clock/clock.c
var clockSource []byte

// clockLibrary returns the library that a server with a clock of its own preloads.
var clockLibrary = sync.OnceValues(buildClock)

func buildClock() ([]byte, error) {
	if runtime.GOOS != "linux" {
		return nil, ErrNoClock
	}
	dir, err := os.MkdirTemp("", "redistest-clock-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O2", "-o", library, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %w\n%s", ErrNoClock, err, out)
	}
	return os.ReadFile(library)
}

// StartWithClock is Start with a server whose wall clock differs from the machine's by offset.
func StartWithClock(tb testing.TB, offset time.Duration, args ...string) *Server {
	tb.Helper()
	server, err := LaunchWithClock(offset, args...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Remove)
	return server
}

// LaunchWithClock is StartWithClock outside of a test; the caller calls Remove.
func LaunchWithClock(offset time.Duration, args ...string) (*Server, error) {
	return launch(func(s *Server) error { return s.addClock(offset) }, args)
}

// addClock gives the server, which is not started yet, a clock of its own.
func (s *Server) addClock(offset time.Duration) error {
	library, err := clockLibrary()
	if err != nil {
		return err
	}
	file := filepath.Join(s.Dir, "clock.so")
	if err := os.WriteFile(file, library, 0o600); err != nil {
		return err
	}
	s.clock = filepath.Join(s.Dir, "clock")
	s.env = []string{"REDISTEST_CLOCK=" + s.clock, "LD_PRELOAD=" + file}
	return s.setOffset(offset)
}

func (s *Server) setOffset(offset time.Duration) error {
	file, err := os.OpenFile(s.clock, os.O_CREATE|os.O_WRONLY, 0o600) // the server has it mapped: written in place
	if err != nil {
		return err
	}
	_, err = file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(offset)), 0)
	return errors.Join(err, file.Close())
}

var errNoOwnClock = errors.New("the server was not started with a clock of its own")

// SetClock sets the wall clock of a server of StartWithClock to an offset from the machine's, and
// returns when TIME shows it. A server that was killed starts with it. The server's timers are not
// affected, but it compares stored times, such as the end of a blocking read, with the new clock.
// Resume a paused server first.
func (s *Server) SetClock(offset time.Duration) error {
	if s.clock == "" {
		return errNoOwnClock
	}
	if err := s.setOffset(offset); err != nil {
		return err
	}
	if _, err := os.Stat(s.pidfile()); err != nil {
		return nil // not running
	}
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	return poll("the clock of "+s.Addr, func() error {
		now, err := client.Time(context.Background()).Result()
		if off := time.Until(now) - offset; err == nil && off.Abs() > time.Second {
			err = fmt.Errorf("differs by %s", off) //nolint:err113 // for a reader
		}
		return err
	})
}
