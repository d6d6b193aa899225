package admin

import (
	"context"
	"iter"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

const (
	followPause = 200 * time.Millisecond
	// followRetry is the pause after a failure.
	followRetry = time.Second
)

// Follow iterates over the entries of a topic that are newer than after, and waits for further ones
// until ctx ends, which is no error. after is an ID; empty: only what is added from now on. It asks
// each 200 ms, so it holds no connection. It goes on after a restart or failover of the server, and
// when the topic does not exist yet; it ends after a permanent error, such as a missing right. Between
// partitions there is no order. The error wraps ErrInvalidID.
func (a *Admin) Follow(ctx context.Context, topic, after string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		f := follower{Admin: a, topic: topic, from: after, after: make(map[string]string)}
		for {
			err := f.follow(ctx, yield)
			if ctx.Err() != nil || err == nil {
				return
			}
			if !stream.IsTransient(err) && !f.gotPartitions(ctx, err) {
				yield(Message{}, topicError(topic, err))
				return
			}
			if !pause(ctx, followRetry) {
				return
			}
		}
	}
}

// follower is one call of Follow.
type follower struct {
	*Admin

	topic, from string            // from: the ID to begin after; empty: the newest ones
	after       map[string]string // the last ID that was yielded of each stream
}

// follow yields entries until an error, or until yield or ctx ends it: then it returns nil.
func (f *follower) follow(ctx context.Context, yield func(Message, error) bool) error {
	if f.from != "" && !stream.ValidID(f.from) {
		return ErrInvalidID
	}
	names, err := stream.StreamsOf(ctx, f.client, f.topic)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f.begin(ctx, name); err != nil {
			return err
		}
	}
	for {
		for _, name := range names {
			for entry, err := range stream.ReadEntries(ctx, f.client, name, stream.Span{From: "(" + f.after[name], To: "+"}) {
				if err != nil {
					return err
				}
				f.after[name] = entry.ID
				if !yield(f.decode(name, entry), nil) {
					return nil
				}
			}
		}
		if !pause(ctx, followPause) {
			return nil
		}
	}
}

// begin sets where a stream begins.
func (f *follower) begin(ctx context.Context, name string) error {
	if f.after[name] != "" {
		return nil
	}
	if f.from != "" {
		f.after[name] = f.from
		return nil
	}
	state, err := f.inspect(name).Topic(ctx)
	switch {
	case stream.IsNoStream(err):
		f.after[name] = "0-0"
	case err != nil:
		return err
	default:
		f.after[name] = state.Last
	}
	return nil
}

// gotPartitions reports whether the topic, which did not exist, got partitions. All their entries are
// new.
func (f *follower) gotPartitions(ctx context.Context, err error) bool {
	if !stream.IsWrongType(err) {
		return false
	}
	names, err := stream.StreamsOf(ctx, f.client, f.topic)
	got := err == nil && len(names) > 0 && names[0] != f.topic
	if got && f.from == "" {
		f.from = "0-0"
	}
	return got
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
