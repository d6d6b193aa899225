package stream

import (
	"context"
	"time"
)

// PartitionMember is a member of a consumer group on a partitioned topic.
type PartitionMember struct {
	Name  string
	Lease time.Duration // until it is removed, if it does not renew it
	State string        // what it said of itself
}

// Living returns the members whose leases are not over, without a change of the record. Those whose
// leases end first come first.
func (m *PartitionMembers) Living(ctx context.Context) ([]PartitionMember, error) {
	reply, err := partitionMembersScript.Run(ctx, m.client, m.keys[:2], maxPartitionMembers).Slice()
	if err != nil {
		return nil, err
	}
	members := make([]PartitionMember, len(reply))
	for i, element := range reply {
		list, _ := element.([]any)
		r := row(list)
		members[i] = PartitionMember{Name: r.text(0), Lease: r.duration(1), State: r.text(2)}
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
