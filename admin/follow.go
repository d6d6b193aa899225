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
// when the topic does not exist yet; it ends after a permanent error, such as a missing right. The
// error wraps ErrInvalidID.
func (a *Admin) Follow(ctx context.Context, topic, after string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			err := a.follow(ctx, topic, &after, yield)
			if ctx.Err() != nil || err == nil {
				return
			}
			if !stream.IsTransient(err) {
				yield(Message{}, topicError(topic, err))
				return
			}
			if !pause(ctx, followRetry) {
				return
			}
		}
	}
}

// follow yields entries until an error, or until yield or ctx ends it: then it returns nil. after is
// the last one that it yielded.
func (a *Admin) follow(ctx context.Context, topic string, after *string, yield func(Message, error) bool) error {
	if err := a.begin(ctx, topic, after); err != nil {
		return err
	}
	for {
		for entry, err := range stream.ReadEntries(ctx, a.client, topic, stream.Span{From: "(" + *after, To: "+"}) {
			if err != nil {
				return err
			}
			*after = entry.ID
			if !yield(a.decode(entry), nil) {
				return nil
			}
		}
		if !pause(ctx, followPause) {
			return nil
		}
	}
}

// begin sets after to the newest ID, if it is empty.
func (a *Admin) begin(ctx context.Context, topic string, after *string) error {
	if *after != "" {
		if !stream.ValidID(*after) {
			return ErrInvalidID
		}
		return nil
	}
	state, err := a.inspect(topic).Topic(ctx)
	switch {
	case stream.IsNoStream(err):
		*after = "0-0"
	case err != nil:
		return err
	default:
		*after = state.Last
	}
	return nil
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
