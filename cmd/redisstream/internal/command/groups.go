package command

import (
	"context"
	"strconv"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

type groupView struct {
	Topic          string     `json:"topic"`
	Group          string     `json:"group"`
	State          string     `json:"state"`
	Description    string     `json:"description"`
	Members        int        `json:"members"`
	Consumers      int        `json:"consumers"`
	Position       string     `json:"position"`
	Lag            *int64     `json:"lag"` // null: unknown
	LagExact       bool       `json:"lag_exact"`
	Pending        int64      `json:"pending"`
	Parked         int64      `json:"parked"`
	OldestID       string     `json:"oldest_id"`
	OldestSeconds  float64    `json:"oldest_age_seconds"`
	MaxDeliveries  int64      `json:"max_deliveries"`
	BlockedBy      string     `json:"blocked_by"`
	Hung           int        `json:"hung"`
	BlocksTrimming bool       `json:"blocks_trimming"`
	Paused         *pauseView `json:"paused"` // null: it is not paused
	Owner          *ownerView `json:"owner"`  // null: nobody, or one for each partition

	lag    admin.Lag
	oldest time.Duration
}

type pauseView struct {
	Since  string `json:"since"`
	By     string `json:"by"`
	Reason string `json:"reason"`
}

func viewGroup(g admin.Group) groupView {
	v := groupView{
		Topic: g.Topic, Group: g.Name, State: string(g.State), Description: g.Describe(), Members: g.Members, Consumers: g.Consumers,
		Position: g.Position, LagExact: g.Lag.Exact == admin.LagExact, Pending: g.Pending, Parked: g.Parked,
		OldestID: g.OldestID, OldestSeconds: seconds(g.OldestAge), MaxDeliveries: g.MaxDeliveries, BlockedBy: g.BlockedBy,
		Hung: g.Hung, BlocksTrimming: g.BlocksTrimming, Owner: viewOwner(g.Owner), lag: g.Lag, oldest: g.OldestAge,
	}
	v.Lag = lagNumber(g.Lag)
	if p := g.Paused; p != nil {
		v.Paused = &pauseView{Since: text.Time(p.Since), By: p.By, Reason: p.Reason}
	}
	return v
}

// lagNumber returns nil for an unknown lag.
func lagNumber(l admin.Lag) *int64 {
	if l.Exact == admin.LagUnknown {
		return nil
	}
	return &l.N
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// oldestAge returns the age of the oldest unhandled entry; empty: there is none.
func (v groupView) oldestAge() string {
	if v.OldestID == "" {
		return "-"
	}
	return text.Age(v.oldest)
}

func (v groupView) row() []string {
	return []string{
		v.Group, strconv.Itoa(v.Members), v.lag.String(), number(v.Pending), v.oldestAge(), number(v.MaxDeliveries), v.Description,
	}
}

func (a *app) groups() *cobra.Command {
	return &cobra.Command{
		Use:   "groups TOPIC",
		Short: "Show the groups of a topic: lag, oldest unhandled entry, state",
		Long: `Show the groups of a topic: lag, oldest unhandled entry, state.

OLDEST is the age of the oldest entry that is pending or not delivered. STATE tells what to look at
first: paused, abandoned (no live member), hung (a handler does not return), blocked by an entry that
fails again and again, working or idle; and which group blocks trimming.`,
		Example:           "  redisstream groups orders",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				groups, err := s.Groups(ctx, args[0])
				if err != nil {
					return err
				}
				l := list(a, []string{"GROUP", "MEMBERS", "LAG", "PENDING", "OLDEST", "MAX DELIVERIES", stateColumn}, groupView.row)
				for _, g := range groups {
					if err := l.add(viewGroup(g)); err != nil {
						return err
					}
				}
				return l.end()
			})
		},
	}
}
