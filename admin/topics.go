package admin

import (
	"context"
	"iter"
	"time"
)

// Topic is a stream.
type Topic struct {
	Name        string
	Length      int64     // entries it has
	Added       int64     // entries that were ever added
	FirstID     string    // its oldest entry; empty: it has none
	LastID      string    // the newest ID that it ever had
	Oldest      time.Time // the time in FirstID; zero: it has no entry
	Newest      time.Time // the time in LastID; zero: it never had one
	Bytes       int64     // the server's memory for the stream (MEMORY USAGE); -1: unknown, the user may not ask
	Groups      int
	DeadLetters int64 // entries of DeadLetterTopic, which topics such as "orders" and "{orders}" share
	Delayed     int64 // messages that are not due yet
	Parked      int64 // messages in the retry queues of its groups
}

// Topics iterates over the topics, in no order (SCAN ... TYPE stream on each master). Streams of
// dead letters are left out: their number is in the topic's. match is a glob pattern as of SCAN;
// empty: all. What is created or deleted meanwhile may be missing; all others come once.
func (a *Admin) Topics(ctx context.Context, match string) iter.Seq2[Topic, error] { panic("to do") }

// Topic returns a topic. The error wraps ErrNoTopic.
func (a *Admin) Topic(ctx context.Context, topic string) (Topic, error) { panic("to do") }
