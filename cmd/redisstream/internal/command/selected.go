package command

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/spf13/cobra"
)

// kind is a kind of things that a command is done to: dead letters or delayed messages.
type kind[T any] struct {
	parent string // the command above
	thing  string // one of them
	place  func(T) place
	filter func(expression string) (func(thing T, now time.Time) (bool, error), error) // of --where
}

// step is what a command does to things of a kind.
type step[T any] struct {
	name, short string
	verb, done  string // of the question and the report
	act         func(*admin.Admin, context.Context, string, func(T) bool, bool) (admin.Outcome, error)
}

// selected returns a command that does something to the things that its flags and arguments select.
func selected[T any](a *app, k kind[T], do step[T]) *cobra.Command {
	var c change
	var sel selection
	cmd := &cobra.Command{
		Use:               do.name + " TOPIC [ID...]",
		Short:             do.short,
		Long:              do.short + ".\n\nThe IDs are those of \"" + k.parent + " list\".",
		Example:           "  redisstream " + k.parent + " " + do.name + " orders --where 'json.customer == 7' --dry-run",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			topic := args[0]
			matches, err := k.filter(sel.expression)
			if err != nil {
				return err
			}
			if err := sel.take(args[1:]); err != nil {
				return err
			}
			if err := c.mayAsk(a); err != nil {
				return err
			}
			ctx := cmd.Context()
			return a.with(ctx, func(s *server) error {
				return carryOut(ctx, a, s, c, plan[admin.Outcome]{
					do: func(ctx context.Context, dryRun bool) (admin.Outcome, error) {
						return sel.apply(ctx, s, dryRun, func(chosen func(place, func(time.Time) (bool, error)) bool) (admin.Outcome, error) {
							return do.act(s.Admin, ctx, topic, func(thing T) bool {
								return chosen(k.place(thing), func(now time.Time) (bool, error) { return matches(thing, now) })
							}, dryRun)
						})
					},
					question: func(o admin.Outcome) string {
						if len(o.IDs) == 0 {
							return ""
						}
						return fmt.Sprintf("%s %s of %s?", do.verb, count(len(o.IDs), k.thing), topic)
					},
					report: func(o admin.Outcome) error { return a.outcome(do.done, k.thing, o) },
				})
			})
		},
	}
	c.addTo(cmd)
	sel.addTo(cmd, k.thing+"s")
	return cmd
}
