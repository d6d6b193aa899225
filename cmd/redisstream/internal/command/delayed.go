package command

import (
	"context"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/millrace/redisstream/cmd/redisstream/internal/where"
	"github.com/spf13/cobra"
)

type delayedView struct {
	messageView // ID is that among the delayed messages

	Due       string  `json:"due"`
	InSeconds float64 `json:"due_in_seconds"`

	in time.Duration
}

func viewDelayed(d admin.Delayed, now time.Time) delayedView {
	v := delayedView{messageView: viewMessage(d.Message), Due: text.Time(d.Due), in: d.Due.Sub(now)}
	v.ID, v.InSeconds = d.ID, seconds(v.in)
	return v
}

// delayedFilter reads --where.
func delayedFilter(expression string) (func(d admin.Delayed, now time.Time) (bool, error), error) {
	filter, err := compile[where.Delayed](expression)
	return func(d admin.Delayed, now time.Time) (bool, error) {
		if filter == nil {
			return true, nil
		}
		env := where.Delayed{Message: names(d.Message, now, filter.UsesJSON()), Due: d.Due, In: d.Due.Sub(now)}
		env.ID, env.Age = d.ID, 0 // it is not in the topic yet
		return matching(filter, d.ID, env)
	}, err
}

var delayedMessages = kind[admin.Delayed]{
	"delayed", "delayed message", func(d admin.Delayed) place { return place{d.Message.Stream, d.ID} }, delayedFilter,
}

func (a *app) delayed() *cobra.Command {
	return parent("delayed", "List and drop delayed messages, and deliver them now", a.delayedList(),
		selected(a, delayedMessages, step[admin.Delayed]{"drop", "Delete delayed messages", "Drop", "dropped", (*admin.Admin).DropDelayed}),
		selected(a, delayedMessages, step[admin.Delayed]{
			"now", "Move delayed messages to the topic now", "Deliver now", "delivered", (*admin.Admin).DeliverDelayed,
		}),
	)
}

func (a *app) delayedList() *cobra.Command {
	var p page
	var expression string
	var full bool
	cmd := &cobra.Command{
		Use:               "list TOPIC",
		Short:             "List delayed messages, in the order in which they are due",
		Example:           "  redisstream delayed list orders --where 'due_in > duration(\"24h\")'",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(p.most); err != nil {
				return err
			}
			matches, err := delayedFilter(expression)
			if err != nil {
				return err
			}
			row := func(v delayedView) []string {
				return []string{v.ID, v.Due, text.Age(v.in), v.UUID, content(v.message, full)}
			}
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				now, err := s.now(ctx)
				if err != nil {
					return err
				}
				return show(list(a, []string{"ID", "DUE", "IN", "UUID", "PAYLOAD"}, row), s.Delayed(ctx, args[0]), p,
					func(d admin.Delayed) (bool, error) { return matches(d, now) },
					func(d admin.Delayed) delayedView { return viewDelayed(d, now) })
			})
		},
	}
	addLimit(cmd, &p.most, 100)
	addFull(cmd, &full)
	cmd.Flags().StringVar(&expression, "where", "", whereUsage)
	return cmd
}
