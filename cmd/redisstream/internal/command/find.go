package command

import (
	"context"
	"fmt"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

type foundView struct {
	messageView

	Place  string         `json:"place"`
	Groups []handlingView `json:"groups"`
}

type handlingView struct {
	Group      string       `json:"group"`
	Status     string       `json:"status"`
	Pending    *pendingView `json:"pending"` // null: it is not pending
	DeadLetter string       `json:"dead_letter,omitempty"`
	Reason     string       `json:"reason,omitempty"`
}

func viewFound(f admin.Found) foundView {
	v := foundView{messageView: viewMessage(f.Message), Place: string(f.Place), Groups: []handlingView{}}
	for _, g := range f.Groups {
		h := handlingView{Group: g.Group, Status: string(g.Status), DeadLetter: g.DeadLetter, Reason: g.Reason}
		if g.Entry != nil {
			pending := viewPending(*g.Entry)
			h.Pending = &pending
		}
		v.Groups = append(v.Groups, h)
	}
	return v
}

func (a *app) find() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "find TOPIC UUID",
		Short: "Find a message by its UUID, and what each group did with it",
		Long: `Find a message by its UUID, and what each group did with it: in the topic, among the delayed
messages, in the retry queues and among the dead letters.

It reads all messages: limit large topics by --from and --to. "handled" is also the status of what was
added before a group that began later. The exit code is 1 if there is no such message.`,
		Example:           "  redisstream find orders 01890a5d-ac96-774b-bcce-b302099a8057 --from 2h",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) (err error) {
				var r admin.Range
				if r.From, err = s.place(ctx, "--from", from); err != nil {
					return err
				}
				if r.To, err = s.place(ctx, "--to", to); err != nil {
					return err
				}
				return a.showFound(ctx, s, args[0], args[1], r)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "begin at this `PLACE` of the topic: an ID, a time, or how long ago")
	cmd.Flags().StringVar(&to, "to", "", "end at this `PLACE`")
	return cmd
}

func (a *app) showFound(ctx context.Context, s *server, topic, uuid string, r admin.Range) error {
	found := []foundView{}
	for f, err := range s.Find(ctx, topic, uuid, r) {
		if err != nil {
			return err
		}
		found = append(found, viewFound(f))
	}
	if a.json() {
		if err := a.write(found); err != nil {
			return err
		}
	} else if err := a.showFoundTables(found); err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no message of %s has the UUID %s in that range", topic, uuid)
	}
	return nil
}

func (a *app) showFoundTables(found []foundView) error {
	for i, f := range found {
		if i > 0 {
			if err := a.write(nil, ""); err != nil {
				return err
			}
		}
		if err := a.write(nil, append([]string{"place     " + f.Place}, f.people()...)...); err != nil {
			return err
		}
		if len(f.Groups) == 0 {
			continue
		}
		l := list(a, []string{"GROUP", "STATUS", "CONSUMER", "DELIVERIES", "IDLE", "DEAD LETTER", "REASON"}, handlingView.row)
		for _, g := range f.Groups {
			if err := l.add(g); err != nil {
				return err
			}
		}
		if err := l.end(); err != nil {
			return err
		}
	}
	return nil
}

func (v handlingView) row() []string {
	row := []string{v.Group, v.Status, "-", "-", "-", dash(v.DeadLetter), dash(v.Reason)}
	if v.Pending != nil {
		row[2], row[3], row[4] = v.Pending.Consumer, number(v.Pending.Deliveries), text.Age(v.Pending.entry.Idle)
	}
	return row
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
