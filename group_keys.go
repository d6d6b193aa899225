package redisstream

const (
	membersInfix = ":members:"
	pauseInfix   = ":paused:"
)

// MembersKey returns the hash in which the members of a consumer group say what they do:
// "{orders}:members:billing" for "orders" and "billing". It has a field for each consumer. A
// subscription writes it each third of ClaimMinIdle, at least each 10 s and at most each second, and
// the server deletes the hash a day after the last write (EXPIRE). Package admin reads it.
func MembersKey(topic, group string) string { return inSlotOf(topic, membersInfix+group) }

// PauseKey returns the key that exists while a consumer group is paused on a topic:
// "{orders}:paused:billing" for "orders" and "billing". Package admin sets and deletes it.
func PauseKey(topic, group string) string { return inSlotOf(topic, pauseInfix+group) }
