package command

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

type resetView struct {
	DryRun       bool   `json:"dry_run"`
	From         string `json:"from"`
	To           string `json:"to"`
	LagBefore    *int64 `json:"lag_before"` // null: unknown
	LagAfter     *int64 `json:"lag_after"`  // null: unknown
	Acknowledged int64  `json:"acknowledged"`
}

func (a *app) reset() *cobra.Command {
	var c change
	var id, at string
	var ago durationFlag
	cmd := &cobra.Command{
		Use:   "reset TOPIC GROUP",
		Short: "Set a group to an ID, a time, or a time ago",
		Long: `Set a group to an ID, a time, or a time ago: it gets everything from there on, also what it has
handled. Pending entries before the new position are acknowledged. The members need not stop.`,
		Example: "  redisstream reset orders kitchen --ago 2h --dry-run\n" +
			"  redisstream reset orders kitchen --id '$'",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := 0
			for _, name := range []string{"id", "time", "ago"} {
				if cmd.Flags().Changed(name) {
					chosen++
				}
			}
			if chosen != 1 {
				return usage("say to where: --id, --time or --ago")
			}
			to := admin.ResetTo{ID: id, Ago: time.Duration(ago)}
			if cmd.Flags().Changed("time") {
				t, err := text.ParseTime(at)
				if err != nil {
					return usage("--time: %w", err)
				}
				to.Time = t
			}
			if cmd.Flags().Changed("ago") && to.Ago <= 0 {
				return usage("--ago must be positive")
			}
			if err := c.mayAsk(a); err != nil {
				return err
			}
			return a.resetTo(cmd.Context(), args[0], args[1], to, c)
		},
	}
	c.addTo(cmd)
	flags := cmd.Flags()
	flags.StringVar(&id, "id", "", "it gets what is newer than this `ID`; 0: everything, $: only what comes from now on")
	flags.StringVar(&at, "time", "", "it gets what was added at this `TIME` or later, such as 2006-01-02T15:04:05Z")
	flags.Var(&ago, "ago", "it gets what was added that long ago or later")
	return cmd
}

func (a *app) resetTo(ctx context.Context, topic, group string, to admin.ResetTo, c change) error {
	return a.with(ctx, func(s *server) error {
		return carryOut(ctx, a, s, c, plan[admin.Reset]{
			do: func(ctx context.Context, dryRun bool) (admin.Reset, error) {
				to.DryRun = dryRun
				return s.Reset(ctx, topic, group, to)
			},
			question: func(r admin.Reset) string {
				return fmt.Sprintf("Reset %s on %s from %s to %s: lag %s instead of %s, %s acknowledged?",
					group, topic, r.From, r.To, r.After, r.Before, count(int(r.Acknowledged), "pending entry"))
			},
			report: func(r admin.Reset) error {
				begin := "Reset"
				if r.DryRun {
					begin = "Dry run: would reset"
				}
				return a.write(resetView{
					DryRun: r.DryRun, From: r.From, To: r.To, LagBefore: lagNumber(r.Before), LagAfter: lagNumber(r.After), Acknowledged: r.Acknowledged,
				}, fmt.Sprintf("%s %s on %s from %s to %s: lag %s instead of %s, %s acknowledged",
					begin, group, topic, r.From, r.To, r.After, r.Before, count(int(r.Acknowledged), "pending entry")))
			},
		})
	})
}
