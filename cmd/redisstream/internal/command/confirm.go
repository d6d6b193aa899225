package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 1024

// change is a command that destroys or moves something. It asks before.
type change struct {
	dryRun, yes bool
}

func (c *change) addTo(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "show what it would do, and change nothing")
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do not ask")
}

// mayAsk fails early if there is no terminal to confirm on.
func (c *change) mayAsk(a *app) error {
	if !c.dryRun && !c.yes && !a.InTerminal {
		return errNobody
	}
	return nil
}

// plan is what a change would do.
type plan[T any] struct {
	// do does it, or finds out what it would do.
	do func(ctx context.Context, dryRun bool) (T, error)
	// question asks for a confirmation; empty: there is nothing to do.
	question func(T) string
	// report shows what it did, or would do.
	report func(T) error
}

// carryOut finds out what a plan would do, asks, and does it. Waiting for the answer does not count
// for --timeout.
func carryOut[T any](ctx context.Context, a *app, s *server, c change, p plan[T]) error {
	var result T
	step := func(dryRun bool) error {
		return a.within(ctx, s, func(ctx context.Context) (err error) {
			result, err = p.do(ctx, dryRun)
			return err
		})
	}
	if err := step(true); err != nil {
		return err
	}
	question := p.question(result)
	if c.dryRun || question == "" {
		return p.report(result)
	}
	if !c.yes {
		if err := a.ask(ctx, question); err != nil {
			return err
		}
	}
	if err := step(false); err != nil {
		if o, ok := any(result).(admin.Outcome); ok && len(o.IDs) > 0 { // done before it failed
			return errors.Join(err, p.report(result))
		}
		return err
	}
	return p.report(result)
}

// ask asks on the terminal.
func (a *app) ask(ctx context.Context, question string) error {
	if !a.InTerminal {
		return errNobody
	}
	if _, err := fmt.Fprintf(a.Err, "%s [y/N] ", text.Printable(question)); err != nil {
		return err
	}
	answers := make(chan string, 1)
	go func() { // a read of a terminal can't be stopped
		line, _ := bufio.NewReader(io.LimitReader(a.In, maxAnswer)).ReadString('\n')
		answers <- line
	}()
	select {
	case <-ctx.Done():
		return errInterrupted
	case answer := <-answers:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		default:
			return errRefused
		}
	}
}
