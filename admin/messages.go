package admin

import (
	"context"
	"iter"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Message is an entry of a stream.
type Message struct {
	ID     string
	Time   time.Time      // the time in its ID
	Fields map[string]any // as a Marshaler returned them. Values are strings.
	Bytes  int            // of its fields

	UUID     string           // empty: it could not be decoded
	Payload  []byte           // nil: it could not be decoded
	Metadata message.Metadata // nil: it could not be decoded
	Err      error            // why it could not be decoded
}

// Range selects entries of a stream. The zero value selects all, the oldest first.
type Range struct {
	From    string // the first ID, or "(" and the ID before it; empty: the oldest
	To      string // the last ID, or "(" and the ID after it; empty: the newest
	Reverse bool   // the newest first
}

// Messages iterates over entries of a topic, in pages of up to 100 entries and about 1 MiB (XRANGE in
// a script, so that the master answers). An entry that can't be decoded is no error: see Message.Err.
func (a *Admin) Messages(ctx context.Context, topic string, r Range) iter.Seq2[Message, error] {
	panic("to do")
}

// Message returns an entry. The error wraps ErrNoEntry or ErrInvalidID.
func (a *Admin) Message(ctx context.Context, topic, id string) (Message, error) { panic("to do") }

// Follow iterates over the entries of a topic that are newer than after, and waits for further ones
// until ctx ends, which is no error. after is an ID; empty: only what is added from now on. It asks each
// 200 ms, so it holds no connection.
func (a *Admin) Follow(ctx context.Context, topic, after string) iter.Seq2[Message, error] {
	panic("to do")
}

// IDAt returns the first ID of a time.
func IDAt(t time.Time) string { panic("to do") }
