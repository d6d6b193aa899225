package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Inspection asks for the state of a stream and of what belongs to it. Its scripts run on the
// master, and change nothing. Each is bounded.
type Inspection struct {
	client redis.UniversalClient
	keys   InspectedKeys
}

// InspectedKeys are the keys of a stream. Those behind a prefix have the group's name in the end.
type InspectedKeys struct {
	Stream, DeadLetters, Delayed         string
	RetryQueues, Pauses, MembersOfGroups string // prefixes
	Owners                               string // prefix
}

// Inspect returns the Inspection of a stream. The other keys are left out if they are in another
// slot of a cluster.
func Inspect(client redis.UniversalClient, keys InspectedKeys) *Inspection {
	if _, cluster := client.(clusterClient); cluster && slot(keys.Stream) != slot(keys.DeadLetters) {
		keys = InspectedKeys{Stream: keys.Stream}
	}
	return &Inspection{client: client, keys: keys}
}

// IsNoStream reports whether there is no stream with that name: no key, or one of another type.
func IsNoStream(err error) bool { return isNoKey(err) || redis.HasErrorPrefix(err, "WRONGTYPE") }

func (i *Inspection) run(ctx context.Context, c call) (row, error) {
	reply, err := c.script.Run(ctx, i.client, c.keys, c.args...).Slice()
	return row(reply), err
}

// row is a list in the reply of a script. What is missing, or of another type, is a zero value: the
// scripts are ours.
type row []any

func (r row) at(i int) any {
	if i < len(r) {
		return r[i]
	}
	return nil
}

func (r row) text(i int) string {
	text, _ := r.at(i).(string)
	return text
}

func (r row) number(i int) int64 {
	n, _ := r.at(i).(int64)
	return n
}

func (r row) list(i int) row {
	list, _ := r.at(i).([]any)
	return list
}

func (r row) duration(i int) time.Duration { return time.Duration(r.number(i)) * time.Millisecond }

// now returns the server's time, with which most replies begin.
func (r row) now() time.Time { return time.UnixMilli(r.number(0)) }

// State is the state of a stream (XINFO STREAM).
type State struct {
	Now           time.Time // by the server's clock
	Length, Added int64     // entries that it has; that were ever added
	First, Newest string    // IDs of its oldest and its newest entry; empty: none
	Last          string    // the newest ID that it ever had
	Deleted       string    // the newest ID that was deleted by XDEL; 0-0: none
	Groups        int
}

func stateOf(r row) State {
	return State{
		Now: r.now(), Length: r.number(1), Added: r.number(2), First: r.text(3), Newest: r.text(4),
		Last: r.text(5), Deleted: r.text(6), Groups: int(r.number(7)),
	}
}

// TopicState is the state of a stream and of what belongs to it.
type TopicState struct {
	State

	Bytes                        int64 // MEMORY USAGE; -1: unknown
	DeadLetters, Delayed, Parked int64
}

// topicTime is how long the server takes to describe a stream with few groups.
const topicTime = 30 * time.Microsecond

func (k InspectedKeys) topicCall() call {
	keys := []string{k.Stream}
	if k.DeadLetters != "" {
		keys = append(keys, k.DeadLetters, k.Delayed)
	}
	return call{inspectTopicScript, keys, []any{k.RetryQueues}, topicTime}
}

func topicStateOf(reply *redis.Cmd) (TopicState, error) {
	list, err := reply.Slice()
	r := row(list)
	return TopicState{State: stateOf(r), Bytes: r.number(8), DeadLetters: r.number(9), Delayed: r.number(10), Parked: r.number(11)}, err
}

// Topic returns the state of the stream.
func (i *Inspection) Topic(ctx context.Context) (TopicState, error) {
	c := i.keys.topicCall()
	return topicStateOf(c.script.Run(ctx, i.client, c.keys, c.args...))
}
