package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

type partitionView struct {
	Partition string     `json:"partition"` // "3/12"; of a topic without partitions: its name
	Stream    string     `json:"stream"`
	Group     *groupView `json:"group"` // null: it has not the group
}

type ownerView struct {
	Consumer     string  `json:"consumer"`
	Generation   int64   `json:"generation"`
	LeaseSeconds float64 `json:"lease_seconds"`

	lease time.Duration
}

func viewOwner(o *admin.Owner) *ownerView {
	if o == nil {
		return nil
	}
	return &ownerView{Consumer: o.Consumer, Generation: o.Generation, LeaseSeconds: seconds(o.Lease), lease: o.Lease}
}

func viewPartition(s admin.TopicSnapshot, group string) partitionView {
	v := partitionView{Partition: s.Topic.Name, Stream: s.Topic.Name}
	if _, partition, of, ok := redisstream.ParsePartitionTopic(s.Topic.Name); ok {
		v.Partition = fmt.Sprintf("%d/%d", partition, of)
	}
	for _, g := range s.Groups {
		if g.Name == group {
			view := viewGroup(g)
			v.Group = &view
		}
	}
	return v
}

func (v partitionView) row() []string {
	g := v.Group
	if g == nil {
		return []string{v.Partition, "-", "-", "-", "-", "-", "-", "no such group"}
	}
	owner := []string{"-", "-", "-"}
	if g.Owner != nil {
		owner = []string{g.Owner.Consumer, number(g.Owner.Generation), text.Age(g.Owner.lease)}
	}
	return append(append([]string{v.Partition}, owner...), g.lag.String(), number(g.Pending), g.oldestAge(), g.Description)
}

func (a *app) partitions() *cobra.Command {
	return &cobra.Command{
		Use:   "partitions TOPIC GROUP",
		Short: "Show the partitions of a topic for a group: owner, lag, pending",
		Long: `Show the partitions of a topic for a group: owner, lag, pending.

OWNER is the active consumer of the partition. LEASE is how much is left of its lease: 0s if the lease is
over, and another member may take the partition over. A topic without partitions is one row, with the
active consumer of an exclusive group.`,
		Example:           "  redisstream partitions orders kitchen",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				if _, err := s.Group(ctx, args[0], args[1]); err != nil {
					return err
				}
				partitions, err := s.Partitions(ctx, args[0])
				if err != nil {
					return err
				}
				columns := []string{"PARTITION", "OWNER", "GENERATION", "LEASE", "LAG", "PENDING", "OLDEST", stateColumn}
				l := list(a, columns, partitionView.row)
				for _, p := range partitions {
					if err := l.add(viewPartition(p, args[1])); err != nil {
						return err
					}
				}
				return l.end()
			})
		},
	}
}

type memberView struct {
	Member       string  `json:"member"`
	Leaves       bool    `json:"leaves"`
	LeaseSeconds float64 `json:"lease_seconds"`
	Partitions   []int   `json:"partitions"`

	lease time.Duration
}

func viewMember(m admin.Member) memberView {
	return memberView{m.Name, m.Leaves, seconds(m.Lease), append([]int{}, m.Partitions...), m.Lease}
}

func (v memberView) row() []string {
	state := "active"
	switch {
	case v.Leaves:
		state = "leaves"
	case len(v.Partitions) == 0:
		state = "stands by"
	}
	return []string{v.Member, state, text.Age(v.lease), strconv.Itoa(len(v.Partitions)), ranges(v.Partitions)}
}

// ranges returns numbers as "0-3,7"; "-" for none.
func ranges(numbers []int) string {
	var parts []string
	for rest := numbers; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n] == rest[0]+n {
			n++
		}
		part := strconv.Itoa(rest[0])
		if n > 1 {
			part += "-" + strconv.Itoa(rest[n-1])
		}
		parts, rest = append(parts, part), rest[n:]
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ",")
}

func (a *app) members() *cobra.Command {
	return &cobra.Command{
		Use:   "members TOPIC GROUP",
		Short: "Show the members of a group that share the partitions of a topic",
		Long: `Show the members of a group that share the partitions of a topic, also those that stand by.

LEASE is how much is left of a member's lease. When it is over, the member counts as dead.`,
		Example:           "  redisstream members orders kitchen",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				members, err := s.Members(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				l := list(a, []string{"MEMBER", stateColumn, "LEASE", "COUNT", "PARTITIONS"}, memberView.row)
				for _, m := range members {
					if err := l.add(viewMember(m)); err != nil {
						return err
					}
				}
				return l.end()
			})
		},
	}
}
