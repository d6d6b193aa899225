package redisstream

const (
	membersInfix = ":members:"
	pauseInfix   = ":paused:"
	ownerInfix   = ":owner:"

	partitionMembersInfix = ":partition-members:"
)

// MembersKey returns the hash in which the members of a consumer group say what they do:
// "{orders}:members:billing" for "orders" and "billing". It has a field for each consumer. A
// subscription writes it each third of ClaimMinIdle, at least each 10 s and at most each second; three
// times less often while it has nothing to do. The server deletes the hash a day after the last write
// (EXPIRE). Package admin reads it.
func MembersKey(topic, group string) string { return inSlotOf(topic, membersInfix+group) }

// PauseKey returns the key that exists while a consumer group is paused on a topic:
// "{orders}:paused:billing" for "orders" and "billing". Package admin sets and deletes it.
func PauseKey(topic, group string) string { return inSlotOf(topic, pauseInfix+group) }

// OwnerKey returns the hash that tells which consumer of a group owns a topic, or the PartitionTopic
// of a partition: "{orders}:owner:billing" for "orders" and "billing". Consumers of a group with
// Exclusive or Partitions write it. The server
// deletes it 30 days after the last write (EXPIRE).
func OwnerKey(topic, group string) string { return inSlotOf(topic, ownerInfix+group) }

// PartitionMembersKey returns the hash in which the members of a consumer group on a topic with
// partitions write which partitions they own: "{orders}:partition-members:billing" for "orders" and
// "billing". Two more keys belong to it, with ":leases" and ":changes" appended. The server deletes
// them a day after the last write (EXPIRE).
func PartitionMembersKey(topic, group string) string {
	return inSlotOf(topic, partitionMembersInfix+group)
}
