// Package command has the commands of the program redisstream, one in a file.
package command

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/redis/go-redis/v9"
)

const (
	defaultURL     = "redis://localhost:6379"
	defaultTimeout = 10 * time.Second
)

// app is the program: its streams, and the flags of all commands.
type app struct {
	Streams

	url       string
	output    string
	format    string
	timeout   time.Duration
	hungAfter time.Duration
}

// server is a connection.
type server struct {
	*admin.Admin

	client redis.UniversalClient
}

// with runs f with a connection. f bounds its calls itself, by within.
func (a *app) with(ctx context.Context, f func(s *server) error) error {
	format, err := formatOf(a.format)
	if err != nil {
		return err
	}
	rawURL, err := a.address()
	if err != nil {
		return err
	}
	connecting, cancel := a.limited(ctx)
	defer cancel()
	client, err := redisstream.Connect(connecting, rawURL)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // nothing is lost
	inspector, err := admin.New(admin.Config{Client: client, Unmarshaler: format, HungAfter: a.hungAfter})
	if err != nil {
		return err
	}
	return f(&server{Admin: inspector, client: client})
}

// asking is with and within in one, for a command that only asks.
func (a *app) asking(ctx context.Context, f func(ctx context.Context, s *server) error) error {
	return a.with(ctx, func(s *server) error {
		return a.within(ctx, s, func(ctx context.Context) error { return f(ctx, s) })
	})
}

// within runs f for at most --timeout.
func (a *app) within(ctx context.Context, s *server, f func(ctx context.Context) error) error {
	limited, cancel := a.limited(ctx)
	defer cancel()
	return until(limited, s, f)
}

// until runs f until ctx ends. go-redis does not end a wait with ctx, so the client is closed then.
func until(ctx context.Context, s *server, f func(ctx context.Context) error) error {
	stop := context.AfterFunc(ctx, func() { _ = s.client.Close() })
	defer stop()
	err := f(ctx)
	if err != nil && ctx.Err() != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errTimeout) {
			return cause
		}
	}
	return err
}

func (a *app) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, a.timeout, fmt.Errorf("%w (%s)", errTimeout, a.timeout))
}

// address returns the URL of the server. A password on the command line is refused: all users of the
// machine see it.
func (a *app) address() (string, error) {
	if a.url == "" {
		if rawURL := a.Getenv("REDIS_URL"); rawURL != "" {
			return rawURL, nil
		}
		return defaultURL, nil
	}
	u, err := url.Parse(a.url)
	if err != nil {
		return a.url, nil //nolint:nilerr // Connect says what is wrong, without a password
	}
	_, secret := u.User.Password()
	for name := range u.Query() {
		secret = secret || strings.Contains(name, "password")
	}
	if secret {
		return "", usage("--url has a password, which all users of this machine can see: set REDIS_URL instead")
	}
	return a.url, nil
}

func (a *app) json() bool { return a.output == "json" }
