package command

import (
	"context"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/millrace/redisstream/cmd/redisstream/internal/where"
	"github.com/spf13/cobra"
)

type pendingView struct {
	ID         string  `json:"id"`
	Age        float64 `json:"age_seconds"`
	Consumer   string  `json:"consumer"`
	Idle       float64 `json:"idle_seconds"`
	Held       float64 `json:"held_seconds"` // 0: unknown, or not for long
	Deliveries int64   `json:"deliveries"`

	entry admin.PendingEntry
}

func viewPending(p admin.PendingEntry) pendingView {
	return pendingView{
		ID: p.ID, Age: seconds(p.Age), Consumer: p.Consumer, Idle: seconds(p.Idle), Held: seconds(p.HeldFor), Deliveries: p.Deliveries, entry: p,
	}
}

func (v pendingView) row() []string {
	held := "-"
	if v.entry.HeldFor > 0 {
		held = text.Age(v.entry.HeldFor)
	}
	return []string{v.ID, text.Age(v.entry.Age), v.Consumer, text.Age(v.entry.Idle), held, number(v.Deliveries)}
}

func (a *app) pending() *cobra.Command {
	var p page
	var consumer, expression, from string
	var minIdle durationFlag
	cmd := &cobra.Command{
		Use:   "pending TOPIC GROUP",
		Short: "List the pending entries of a group, the oldest first",
		Long: `List the pending entries of a group, the oldest first.

IDLE is the time since the delivery, or since the lease was renewed. HELD is how long the handler has
had the entry. "tail TOPIC --from ID -n 1" shows what is in one.`,
		Example:           "  redisstream pending orders kitchen --where 'deliveries > 5'",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(p.most); err != nil {
				return err
			}
			filter, err := compile[where.Pending](expression)
			if err != nil {
				return err
			}
			keep := func(e admin.PendingEntry) (bool, error) {
				return matching(filter, e.ID, where.Pending{
					ID: e.ID, Consumer: e.Consumer, Age: e.Age, Idle: e.Idle, Held: e.HeldFor, Deliveries: e.Deliveries,
				})
			}
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				first, err := s.place(ctx, "--from", from)
				if err != nil {
					return err
				}
				selected := admin.PendingFilter{From: first, Consumer: consumer, MinIdle: time.Duration(minIdle)}
				l := list(a, []string{"ID", "AGE", "CONSUMER", "IDLE", "HELD", "DELIVERIES"}, pendingView.row)
				return show(l, s.Pending(ctx, args[0], args[1], selected), p, keep, viewPending)
			})
		},
	}
	addLimit(cmd, &p.most, 100)
	flags := cmd.Flags()
	flags.StringVar(&consumer, "consumer", "", "only those of this `NAME`")
	flags.Var(&minIdle, "min-idle", "only those with this idle time")
	flags.StringVar(&from, "from", "", "begin at this `PLACE`: an ID, a time, or how long ago")
	flags.StringVar(&expression, "where", "", whereUsage)
	return cmd
}
