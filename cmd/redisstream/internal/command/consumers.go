package command

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

type consumerView struct {
	Consumer    string     `json:"consumer"`
	State       string     `json:"state"`
	Pending     int64      `json:"pending"`
	IdleSeconds float64    `json:"idle_seconds"`
	Reports     bool       `json:"reports"`
	Seen        string     `json:"seen"`
	Host        string     `json:"host"`
	PID         int        `json:"pid"`
	Started     string     `json:"started"`
	InFlight    int        `json:"in_flight"`
	ReadAhead   int        `json:"read_ahead"`
	Held        []heldView `json:"held"`
	Failing     []heldView `json:"failing"`
	Paused      bool       `json:"paused"`
	Owns        []string   `json:"owns"`

	idle time.Duration
}

type heldView struct {
	ID         string  `json:"id"`
	Seconds    float64 `json:"for_seconds"`
	Deliveries int64   `json:"deliveries"`

	held time.Duration
}

func viewHeld(list []admin.Held) []heldView {
	views := make([]heldView, len(list))
	for i, h := range list {
		views[i] = heldView{ID: h.ID, Seconds: seconds(h.For), Deliveries: h.Deliveries, held: h.For}
	}
	return views
}

func viewConsumer(c admin.Consumer) consumerView {
	return consumerView{
		Consumer: c.Name, State: string(c.State), Pending: c.Pending, IdleSeconds: seconds(c.Idle), Reports: c.Reports, Seen: text.Time(c.Seen),
		Host: c.Host, PID: c.PID, Started: text.Time(c.Started), InFlight: c.InFlight, ReadAhead: c.ReadAhead,
		Held: viewHeld(c.Held), Failing: viewHeld(c.Failing), Paused: c.Paused, Owns: append([]string{}, c.Owns...), idle: c.Idle,
	}
}

func (v consumerView) row() []string {
	row := []string{v.Consumer, v.State, number(v.Pending), text.Age(v.idle)}
	if !v.Reports {
		return append(row, "?", "?", "?", "?")
	}
	return append(row, strconv.Itoa(v.InFlight), longest(v.Held), longest(v.Failing), fmt.Sprintf("%s pid %d", v.Host, v.PID))
}

// longest returns the entry that is first in a list, and since when.
func longest(list []heldView) string {
	if len(list) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s for %s", list[0].ID, text.Age(list[0].held))
}

func (a *app) consumers() *cobra.Command {
	return &cobra.Command{
		Use:   "consumers TOPIC GROUP",
		Short: "Show the consumers of a group: which works, which hangs, which is dead",
		Long: `Show the consumers of a group: which works, which hangs, which is dead.

HELD is the entry that a handler has had for longest, FAILING the one that waits for its redelivery for
longest. Consumers that are not of redisstream do not report them: they show "?".`,
		Example:           "  redisstream consumers orders kitchen",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				consumers, err := s.Consumers(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				columns := []string{"CONSUMER", stateColumn, "PENDING", "IDLE", "IN FLIGHT", "HELD", "FAILING", "PROCESS"}
				l := list(a, columns, consumerView.row)
				for _, c := range consumers {
					if err := l.add(viewConsumer(c)); err != nil {
						return err
					}
				}
				return l.end()
			})
		},
	}
}
