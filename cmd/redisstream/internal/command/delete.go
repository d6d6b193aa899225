package command

import (
	"context"
	"fmt"

	"github.com/millrace/redisstream/admin"
	"github.com/spf13/cobra"
)

type deletionView struct {
	DryRun   bool   `json:"dry_run"`
	Topic    string `json:"topic"`
	Group    string `json:"group"`
	Consumer string `json:"consumer,omitempty"`
	Pending  int64  `json:"pending"`
	Lag      *int64 `json:"lag"` // null: unknown, or a consumer was deleted
	Parked   int64  `json:"parked"`
}

func (a *app) delete() *cobra.Command {
	var c change
	var consumer string
	cmd := &cobra.Command{
		Use:   "delete TOPIC GROUP",
		Short: "Delete a group, or an abandoned consumer giving its entries back",
		Long: `Delete a group with its pending entries and its retry queue, or with --consumer an abandoned consumer:
its entries go to the others. The messages stay in the topic. A live group or consumer is refused.`,
		Example:           "  redisstream delete orders audit --dry-run\n  redisstream delete orders kitchen --consumer host1",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.mayAsk(a); err != nil {
				return err
			}
			return a.deleteOf(cmd.Context(), args[0], args[1], consumer, c)
		},
	}
	c.addTo(cmd)
	cmd.Flags().StringVar(&consumer, "consumer", "", "delete only this consumer, and give its entries back")
	if err := cmd.RegisterFlagCompletionFunc("consumer", a.completeConsumer); err != nil {
		panic(err)
	}
	return cmd
}

func (a *app) deleteOf(ctx context.Context, topic, group, consumer string, c change) error {
	what := fmt.Sprintf("group %s of %s", group, topic)
	consequence := func(d admin.Deletion) string {
		return fmt.Sprintf("%s, lag %s, %s", count(int(d.Pending), "pending entry"), d.Lag, count(int(d.Parked), "parked message"))
	}
	if consumer != "" {
		what = fmt.Sprintf("consumer %s of %s", consumer, what)
		consequence = func(d admin.Deletion) string { return count(int(d.Pending), "entry") + " given back" }
	}
	return a.with(ctx, func(s *server) error {
		return carryOut(ctx, a, s, c, plan[admin.Deletion]{
			do: func(ctx context.Context, dryRun bool) (admin.Deletion, error) {
				if consumer != "" {
					return s.DropConsumer(ctx, topic, group, consumer, dryRun)
				}
				return s.DeleteGroup(ctx, topic, group, dryRun)
			},
			question: func(d admin.Deletion) string { return fmt.Sprintf("Delete %s (%s)?", what, consequence(d)) },
			report: func(d admin.Deletion) error {
				begin := "Deleted"
				if d.DryRun {
					begin = "Dry run: would delete"
				}
				v := deletionView{DryRun: d.DryRun, Topic: topic, Group: group, Consumer: consumer, Pending: d.Pending, Parked: d.Parked}
				if consumer == "" {
					v.Lag = lagNumber(d.Lag)
				}
				return a.write(v, fmt.Sprintf("%s %s: %s", begin, what, consequence(d)))
			},
		})
	})
}
