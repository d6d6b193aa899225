package admin

import (
	"context"
	"time"
)

// Consumer is a consumer of a group.
type Consumer struct {
	Name    string
	State   ConsumerState
	Pending int64         // entries that it got and has not acknowledged
	Idle    time.Duration // since its last command (XINFO CONSUMERS)

	// Reports: the consumer is a subscription of redisstream, which tells the rest. Else it is zero.
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

// Consumers returns the consumers of a group, in the order of their names. The error wraps ErrNoTopic
// or ErrNoGroup.
func (a *Admin) Consumers(ctx context.Context, topic, group string) ([]Consumer, error) {
	panic("to do")
}
