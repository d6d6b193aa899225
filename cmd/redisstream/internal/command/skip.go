package command

import (
	"context"
	"fmt"

	"github.com/millrace/redisstream/admin"
	"github.com/spf13/cobra"
)

func (a *app) skip() *cobra.Command {
	var c change
	var how admin.Skip
	cmd := &cobra.Command{
		Use:   "skip TOPIC GROUP ID...",
		Short: "Acknowledge entries for a group, so that it does not get them",
		Long: `Acknowledge entries for a group, so that it does not get them: pending ones, whoever has them, and
ones that no consumer has got yet. Other groups are not concerned. What the group has handled is left out.`,
		Example:           "  redisstream skip orders kitchen 1795520068644-0 --dead-letter --reason 'no such product'",
		Args:              cobra.MinimumNArgs(3),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if how.Reason != "" && !how.DeadLetter {
				return usage("--reason is that of a dead letter: add --dead-letter")
			}
			if err := c.mayAsk(a); err != nil {
				return err
			}
			ctx, topic, group, ids := cmd.Context(), args[0], args[1], args[2:]
			return a.with(ctx, func(s *server) error {
				return carryOut(ctx, a, s, c, plan[admin.Outcome]{
					do: func(ctx context.Context, dryRun bool) (admin.Outcome, error) {
						how.DryRun = dryRun
						return s.Skip(ctx, topic, group, ids, how)
					},
					question: func(o admin.Outcome) string {
						if len(o.IDs) == 0 {
							return ""
						}
						keeping := "keeping no dead letter"
						if how.DeadLetter {
							keeping = "keeping each as a dead letter"
						}
						return fmt.Sprintf("Skip %s of %s for %s, %s?", count(len(o.IDs), "entry"), topic, group, keeping)
					},
					report: func(o admin.Outcome) error { return a.outcome("skipped", "entry", o) },
				})
			})
		},
	}
	c.addTo(cmd)
	cmd.Flags().BoolVar(&how.DeadLetter, "dead-letter", false, "keep each as a dead letter")
	cmd.Flags().StringVar(&how.Reason, "reason", "", "`REASON` of the dead letter (default \"skipped\")")
	return cmd
}
