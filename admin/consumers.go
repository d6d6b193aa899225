package admin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Consumer is a consumer of a group.
type Consumer struct {
	Name    string
	State   ConsumerState
	Pending int64         // entries that it got and has not acknowledged
	Idle    time.Duration // since its last command (XINFO CONSUMERS)

	// Reports: the consumer is a subscription of redisstream, which reports the fields below.
	// Otherwise they are zero.
	Reports   bool
	Seen      time.Time // when it reported last, by the server's clock
	Host      string
	PID       int
	Started   time.Time
	InFlight  int    // messages that its handlers have
	ReadAhead int    // entries that wait for a worker
	Held      []Held // what its handlers have had for longest, the longest first, up to 10
	Failing   []Held // nacked messages that wait for a redelivery, up to 10
	Paused    bool   // by Subscriber.Pause

	Owns []string // of an exclusive group: the streams whose active consumer it is: the topic, or some of its partitions
}

// Held is an entry that a handler has, or that waits for a redelivery.
type Held struct {
	ID         string
	For        time.Duration // since the handler got it, or since the first nack
	Deliveries int64
}

// ConsumerState tells what a consumer does.
type ConsumerState string

// The states of a consumer.
const (
	ConsumerWorking ConsumerState = "working" // it has entries
	ConsumerIdle    ConsumerState = "idle"    // it is alive and has none
	ConsumerHung    ConsumerState = "hung"    // a handler has had a message for longer than Config.HungAfter
	ConsumerDead    ConsumerState = "dead"    // it shows no activity
)

// Consumers returns the consumers of a group, in the order of their names. One that has several
// partitions comes once. The error wraps ErrNoTopic or ErrNoGroup.
func (a *Admin) Consumers(ctx context.Context, topic, group string) ([]Consumer, error) {
	all := make(map[string]Consumer)
	err := a.onEach(ctx, topic, func(name string) error {
		consumers, err := a.consumersIn(ctx, name, group)
		for _, c := range consumers {
			addConsumer(all, c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(all), func(x, y Consumer) int { return strings.Compare(x.Name, y.Name) }), nil
}

// consumersIn is Consumers of one stream.
func (a *Admin) consumersIn(ctx context.Context, topic, group string) ([]Consumer, error) {
	about, err := a.checkGroup(ctx, topic, group)
	if err != nil {
		return nil, err
	}
	states, err := a.inspect(topic).Consumers(ctx, group)
	if err != nil {
		return nil, groupError(topic, group, err)
	}
	consumers := make([]Consumer, 0, len(states.Consumers))
	for _, state := range states.Consumers {
		c := a.consumerOf(state, states.Now)
		if about.Owner != nil && about.Owner.Consumer == c.Name {
			c.Owns = []string{topic}
		}
		consumers = append(consumers, c)
	}
	return consumers, nil
}

// SilentAfter is how long a consumer that does not report may send no command before it counts as
// dead. Redis 7.0 does not count a read that returns nothing as a command, so an idle consumer of
// another library may count as dead there.
const SilentAfter = time.Minute

// isAlive reports whether a consumer reported within 3 of its intervals, or, if it does not report,
// sent a command within SilentAfter.
func isAlive(c stream.ConsumerState, now time.Time) bool {
	if c.Record == nil {
		return c.Idle < SilentAfter
	}
	return now.Sub(c.Record.Reported) <= 3*c.Record.Every
}

func (a *Admin) consumerOf(state stream.ConsumerState, now time.Time) Consumer {
	c := Consumer{Name: state.Name, Pending: state.Pending, Idle: max(state.Idle, 0)}
	if r := state.Record; r != nil {
		c.Reports, c.Seen, c.Host, c.PID, c.Started = true, r.Reported, r.Host, r.PID, r.Started
		c.InFlight, c.ReadAhead, c.Paused = r.InFlight, r.Ahead, r.Paused
		c.Held, c.Failing = heldOf(r.Held, now.Sub(r.Reported)), heldOf(r.Failing, now.Sub(r.Reported))
	}
	switch {
	case !isAlive(state, now):
		c.State = ConsumerDead
	case len(c.Held) > 0 && c.Held[0].For > a.hungAfter:
		c.State = ConsumerHung
	case c.Pending > 0 || c.InFlight > 0 || c.ReadAhead > 0:
		c.State = ConsumerWorking
	default:
		c.State = ConsumerIdle
	}
	return c
}

// heldOf returns what a record has, with the time since the record.
func heldOf(entries []stream.HeldEntry, since time.Duration) []Held {
	held := make([]Held, 0, len(entries))
	for _, e := range entries {
		held = append(held, Held{ID: e.ID, For: e.For + max(since, 0), Deliveries: e.Deliveries})
	}
	return held
}
