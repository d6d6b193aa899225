package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/partition"
	"github.com/millrace/redisstream/internal/stream"
)

// Owner is the active consumer of a group with SubscriberConfig.Exclusive, or of one partition of a
// topic (redisstream.OwnerKey).
type Owner struct {
	Consumer   string
	Generation int64         // that of Entry.Generation
	Lease      time.Duration // until another one may become the active one; 0: it is over
}

func ownerOf(record *stream.OwnerRecord) *Owner {
	if record == nil {
		return nil
	}
	return &Owner{Consumer: record.Consumer, Generation: record.Generation, Lease: record.Lease}
}

// Member is a member of a group that shares the partitions of a topic.
type Member struct {
	Name       string        // its consumers, one for each partition, may have others
	Lease      time.Duration // until it counts as dead, if it does not report
	Leaves     bool          // it ends, and gives its partitions to others
	Partitions []int         // those that it says that it owns; none: it stands by
}

// Members returns the live members of a group that shares the partitions of a topic, in the order of
// their names (redisstream.PartitionMembersKey). Those without a partition stand by. It changes nothing.
// A topic without partitions has no members of this kind: members of an exclusive group that stand
// by write nothing.
func (a *Admin) Members(ctx context.Context, topic, group string) ([]Member, error) {
	living, err := stream.LivingMembers(ctx, a.client, []string{redisstream.PartitionMembersKey(topic, group)})
	if err != nil {
		return nil, groupError(topic, group, err)
	}
	members := make([]Member, len(living[0]))
	for i, m := range living[0] {
		members[i] = Member{Name: m.Name, Lease: m.Lease}
		// What a newer version writes differently is left out.
		members[i].Partitions, members[i].Leaves, _ = partition.ParseState(m.State)
	}
	slices.SortFunc(members, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
	return members, nil
}

// countMembers counts the members of groups that share the partitions of their topics. A member has a
// consumer for each of its partitions.
func (a *Admin) countMembers(ctx context.Context, groups []*Group) error {
	keys := make([]string, len(groups))
	for i, g := range groups {
		keys[i] = redisstream.PartitionMembersKey(g.Topic, g.Name)
	}
	living, err := stream.LivingMembers(ctx, a.client, keys)
	if err != nil {
		return err
	}
	for i, g := range groups {
		if len(living[i]) > 0 {
			g.Members = len(living[i])
			g.State = stateOf(*g)
		}
	}
	return nil
}
