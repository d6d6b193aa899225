package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// Message is an entry of a stream.
type Message struct {
	ID     string
	Stream string         // that has it: the topic, or one of its partitions
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

// span returns the range for the server.
func (r Range) span() (stream.Span, error) {
	for _, id := range []string{r.From, r.To} {
		if id = strings.TrimPrefix(id, "("); id != "" && !stream.ValidID(id) {
			return stream.Span{}, fmt.Errorf("%q: %w", id, ErrInvalidID)
		}
	}
	if r.Reverse {
		return stream.Span{From: cmp.Or(r.To, "+"), To: cmp.Or(r.From, "-"), Reverse: true}, nil
	}
	return stream.Span{From: cmp.Or(r.From, "-"), To: r.To}, nil
}

// Messages iterates over entries of a topic, in pages of up to 100 entries and about 1 MiB (XRANGE in
// a script, so that the master answers). It ends with the newest entry at the time of its first
// page. An entry that can't be decoded is no error: see Message.Err. A topic that does not exist has
// no entry. The error wraps ErrInvalidID. Entries of several partitions come in the order of their IDs,
// which has the time.
func (a *Admin) Messages(ctx context.Context, topic string, r Range) iter.Seq2[Message, error] {
	read := func(name string) iter.Seq2[Message, error] { return a.messagesIn(ctx, name, r) }
	return merged(ctx, a, topic, read, func(x, y Message) bool {
		if r.Reverse {
			x, y = y, x
		}
		return stream.Precedes(x.ID, y.ID)
	})
}

// messagesIn is Messages of one stream.
func (a *Admin) messagesIn(ctx context.Context, topic string, r Range) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for entry, err := range a.entries(ctx, topic, r, stream.Match{}) {
			if err != nil {
				yield(Message{}, err)
				return
			}
			if !yield(a.decode(topic, entry), nil) {
				return
			}
		}
	}
}

// entries is Messages without decoding, and only of those that may match.
func (a *Admin) entries(ctx context.Context, topic string, r Range, match stream.Match) iter.Seq2[stream.Stored, error] {
	return func(yield func(stream.Stored, error) bool) {
		span, err := r.span()
		if err != nil {
			yield(stream.Stored{}, topicError(topic, err))
			return
		}
		span.Match = match
		for entry, err := range stream.ReadEntries(ctx, a.client, topic, span) {
			if err != nil {
				yield(stream.Stored{}, topicError(topic, err))
				return
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// Message returns an entry. The error wraps ErrNoEntry, ErrInvalidID or ErrAmbiguousID.
func (a *Admin) Message(ctx context.Context, topic, id string) (Message, error) {
	if !stream.ValidID(id) {
		return Message{}, topicError(topic, fmt.Errorf("%q: %w", id, ErrInvalidID))
	}
	var entry stream.Stored
	name, err := a.holder(ctx, topic, id, func(name string) (found bool, err error) {
		one, found, err := stream.ReadEntry(ctx, a.client, name, id)
		if found {
			entry = one
		}
		return found, err
	})
	if err == nil && name == "" {
		err = fmt.Errorf("%s: %w", id, ErrNoEntry)
	}
	if err != nil {
		return Message{}, topicError(topic, err)
	}
	return a.decode(name, entry), nil
}

const (
	uuidField     = "_watermill_message_uuid" // of the default format: the UUID
	metadataField = "metadata"                // of redisstream.JSONMarshaler: a document with the UUID
)

// fieldsOf returns the fields of an entry, and their bytes. Of a field that is there twice the last one counts.
func fieldsOf(entry stream.Stored) (fields map[string]any, size int) {
	fields = make(map[string]any, len(entry.Fields)/2)
	for i := 0; i+1 < len(entry.Fields); i += 2 {
		name, _ := entry.Fields[i].(string)
		value, _ := entry.Fields[i+1].(string)
		fields[name] = value
		size += len(name) + len(value)
	}
	return fields, size
}

// decode returns an entry of a stream as a message.
func (a *Admin) decode(name string, entry stream.Stored) Message {
	fields, size := fieldsOf(entry)
	return a.decodeFields(name, entry.ID, fields, size)
}

// decodeFields returns the fields of an entry as a message. The Unmarshaler gets a copy: it may
// change its map.
func (a *Admin) decodeFields(name, id string, fields map[string]any, size int) Message {
	m := Message{ID: id, Stream: name, Time: timeOf(id), Fields: fields, Bytes: size}
	msg, err := unmarshal(a.unmarshaler, id, maps.Clone(fields))
	if err != nil {
		m.Err = err
		return m
	}
	m.UUID, m.Payload, m.Metadata = msg.UUID, msg.Payload, msg.Metadata
	return m
}

// sizeOf returns the bytes of fields.
func sizeOf(fields map[string]any) (size int) {
	for name, value := range fields {
		text, _ := value.(string)
		size += len(name) + len(text)
	}
	return size
}

// unmarshal returns a panic of the Unmarshaler as an error: the entry may be the reason.
func unmarshal(u redisstream.Unmarshaler, id string, fields map[string]any) (msg *message.Message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			msg, err = nil, fmt.Errorf("panic in the Unmarshaler: %v", cause)
		}
	}()
	msg, err = u.Unmarshal(id, fields)
	if err == nil && msg == nil {
		err = errNoMessage
	}
	return msg, err
}

var errNoMessage = errors.New("the Unmarshaler returned no message")

// IDAt returns the first ID of a time.
func IDAt(t time.Time) string { return strconv.FormatInt(max(t.UnixMilli(), 0), 10) + "-0" }

// timeOf returns the time in an ID; zero: there is none.
func timeOf(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
