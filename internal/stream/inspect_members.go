package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// PartitionMember is a member of a consumer group on a partitioned topic.
type PartitionMember struct {
	Name  string
	Lease time.Duration // until it is removed, if it does not renew it
	State string        // what it said of itself
}

// membersTime is how long the server takes to describe the members of a group, if there are few.
const membersTime = 50 * time.Microsecond

// LivingMembers returns the members whose leases are not over, of each record with a key of keys, all
// together in few round trips. It changes nothing. Those whose leases end first come first.
func LivingMembers(ctx context.Context, client redis.UniversalClient, keys []string) ([][]PartitionMember, error) {
	calls := make([]call, len(keys))
	for i, key := range keys {
		record := NewPartitionMembers(client, key)
		calls[i] = call{partitionMembersScript, record.keys[:2], []any{maxPartitionMembers}, membersTime}
	}
	members := make([][]PartitionMember, len(keys))
	for i, reply := range runAll(ctx, client, calls) {
		list, err := reply.Slice()
		if err != nil {
			return nil, err
		}
		for n := range list {
			r := row(list).list(n)
			members[i] = append(members[i], PartitionMember{Name: r.text(0), Lease: r.duration(1), State: r.text(2)})
		}
	}
	return members, nil
}

// Destroy deletes the record.
func (m *PartitionMembers) Destroy(ctx context.Context) error {
	return m.client.Unlink(ctx, m.keys...).Err()
}

// OwnerRecord says who owns a stream for a group.
type OwnerRecord struct {
	Consumer   string
	Generation int64
	Lease      time.Duration // until it is over, if it is not renewed; 0: it is over
}
