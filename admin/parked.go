package admin

import (
	"context"
	"iter"
	"time"
)

// Parked is a message in the retry queue of a group.
type Parked struct {
	Message    Message   // its ID is that of its entry in the topic
	Due        time.Time // when it may be taken; while a consumer has it: when its lease ends
	Consumer   string    // who has it; empty: no consumer
	Deliveries int64
}

// Parked iterates over the messages in the retry queue of a group, in the order in which they are
// due, in pages of 100 (ZRANGE and HMGET in a script). Messages that are added, removed or taken
// during the iteration may be missing; each other message is yielded once. A group that does not
// exist has none.
func (a *Admin) Parked(ctx context.Context, topic, group string) iter.Seq2[Parked, error] {
	read := func(name string) iter.Seq2[Parked, error] { return a.parkedIn(ctx, name, group) }
	return merged(ctx, a, topic, read, func(x, y Parked) bool { return x.Due.Before(y.Due) })
}

// parkedIn is Parked of one stream.
func (a *Admin) parkedIn(ctx context.Context, topic, group string) iter.Seq2[Parked, error] {
	return func(yield func(Parked, error) bool) {
		pages := a.inspect(topic).Parked(group)
		for {
			page, more, err := pages.Next(ctx)
			if err != nil {
				yield(Parked{}, groupError(topic, group, err))
				return
			}
			for _, entry := range page {
				parked := Parked{Message: a.decode(topic, entry.Stored), Due: entry.Due, Consumer: entry.Holder, Deliveries: entry.Deliveries}
				if !yield(parked, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}
