package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/millrace/redisstream/admin"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitError       = 1   // the server, or what it says
	ExitUsage       = 2   // the command line
	ExitRefused     = 3   // no confirmation
	ExitInterrupted = 130 // SIGINT, SIGTERM
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, args...)}
}

var (
	errRefused = &exitError{ExitRefused, errors.New("nothing was changed: the answer was not yes")}
	errNobody  = &exitError{ExitRefused, errors.New("nothing was changed: there is no terminal to ask on " +
		"(--yes confirms, --dry-run shows what would change)")}
	errInterrupted = &exitError{ExitInterrupted, errors.New("interrupted")}
	errTimeout     = errors.New("the command took longer than --timeout")
)

func exitCode(err error) int {
	var coded *exitError
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE): // who reads has enough
		return ExitOK
	case errors.As(err, &coded):
		return coded.code
	default:
		return ExitError
	}
}

// next returns what to do about an error.
func next(err error) string {
	var unreachable *net.OpError
	text := err.Error()
	switch {
	case errors.Is(err, admin.ErrNoTopic):
		return `"redisstream topics" lists the topics`
	case errors.Is(err, admin.ErrNoGroup):
		return `"redisstream groups TOPIC" lists the groups`
	case errors.Is(err, admin.ErrNoConsumer):
		return `"redisstream consumers TOPIC GROUP" lists the consumers`
	case errors.Is(err, admin.ErrInUse):
		return "stop its members first"
	case errors.Is(err, admin.ErrInvalidID):
		return "an ID is like 1795520068644-0"
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return "raise --timeout, or ask for less"
	case strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"):
		return "set user and password in REDIS_URL"
	case strings.Contains(text, "NOPERM"):
		return "the user lacks a right; admin/README.md lists the rights"
	case errors.As(err, &unreachable), strings.Contains(text, "connect to "):
		return "set REDIS_URL or --url to a server that can be reached"
	default:
		return ""
	}
}
