package admin

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// Place is where a message is.
type Place string

// The places of a message.
const (
	InTopic       Place = "topic"
	InDelayed     Place = "delayed"      // it is not due yet
	InRetryQueue  Place = "retry queue"  // of the group whose Handling says so
	InDeadLetters Place = "dead letters" // of the group whose Handling says so
)

// Found is a message with the UUID that was searched for.
type Found struct {
	Message

	Place  Place
	Groups []Handling // what each group did with it; of a delayed message: none
}

// Handling is what a group did with a message.
type Handling struct {
	Group      string
	Status     Status
	Entry      *PendingEntry // if it is pending
	DeadLetter string        // the ID of its dead letter
	Reason     string        // of the dead letter
}

// Status is how far a group is with a message.
type Status string

// The statuses of a message in a group.
const (
	// StatusHandled: the message was delivered and is not pending: it was acknowledged or skipped.
	// Messages that were added before the start of the group (StartID "$") have this status too.
	StatusHandled      Status = "handled"
	StatusPending      Status = "pending"       // a consumer has it
	StatusUnread       Status = "not delivered" // no consumer has got it yet
	StatusParked       Status = "parked"        // it waits in the retry queue of the group
	StatusDeadLettered Status = "dead letter"
)

// Find iterates over the messages of a topic with a UUID: in the range of the topic, among the
// delayed messages, in the retry queues and among the dead letters, in this order. A message that
// is in two places is yielded twice: in a retry queue, for example, and in the topic. Message.ID is
// that of its entry in the topic. The error wraps ErrInvalidID.
//
// With the Unmarshalers of redisstream the server searches the topic and the dead letters, in pages
// of up to 250 entries and about 1 MiB (XRANGE in a script). Any other Unmarshaler may decrypt or
// decompress, so it gets all entries: give a Range if the topic is large. Once something is found,
// all dead letters are searched before it is yielded, because they show what the groups did.
// Partitions are searched one after the other.
func (a *Admin) Find(ctx context.Context, topic, uuid string, r Range) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		names, err := a.streams(ctx, topic)
		if err != nil {
			yield(Found{}, err)
			return
		}
		for _, name := range names {
			for found, err := range a.findIn(ctx, name, uuid, r) {
				if !yield(found, err) || err != nil {
					return
				}
			}
		}
	}
}

// findIn is Find in one stream.
func (a *Admin) findIn(ctx context.Context, topic, uuid string, r Range) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		search := &search{Admin: a, inspection: a.inspect(topic), topic: topic, uuid: uuid, match: a.matchOf(uuid)}
		for _, look := range []func(context.Context, Range, func(Found) bool) (bool, error){
			search.inTopic, search.inDelayed, search.inRetryQueues, search.inDeadLetters,
		} {
			more, err := look(ctx, r, func(f Found) bool { return yield(f, nil) })
			if err != nil {
				yield(Found{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// search is one call of Find.
type search struct {
	*Admin

	inspection  *stream.Inspection
	topic, uuid string
	match       stream.Match // which entries may have the UUID
	letters     []letter     // with the UUID
	searched    bool         // letters is complete
}

// matchOf returns which entries the Unmarshaler may decode to a message with the UUID.
func (a *Admin) matchOf(uuid string) stream.Match {
	switch a.unmarshaler.(type) {
	case redisstream.MsgpackMarshaler, redisstream.PlainMarshaler:
		return stream.Match{Text: uuid}
	case redisstream.JSONMarshaler:
		if plainInJSON.MatchString(uuid) {
			return stream.Match{Text: uuid, JSON: metadataField}
		}
	}
	return stream.Match{}
}

// plainInJSON matches texts that JSON has as they are, or with a backslash.
var plainInJSON = regexp.MustCompile(`^[\w.:-]+$`)

// has reports whether fields may have the UUID: in the default format a field has it as its value.
func (s *search) has(fields map[string]any) bool {
	_, standard := s.unmarshaler.(redisstream.MsgpackMarshaler)
	return !standard || fields[uuidField] == s.uuid
}

func (s *search) inTopic(ctx context.Context, r Range, yield func(Found) bool) (more bool, err error) {
	for entry, err := range s.entries(ctx, s.topic, r, s.match) {
		if err != nil {
			return false, err
		}
		if more, err := s.offer(ctx, entry, InTopic, yield); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}

// offer yields an entry if it has the UUID.
func (s *search) offer(ctx context.Context, entry stream.Stored, place Place, yield func(Found) bool) (more bool, err error) {
	if fields, _ := fieldsOf(entry); !s.has(fields) {
		return true, nil
	}
	msg := s.decode(s.topic, entry)
	if msg.Err == nil && msg.UUID == s.uuid {
		groups, err := s.handled(ctx, msg.ID)
		return err == nil && yield(Found{Message: msg, Place: place, Groups: groups}), err
	}
	return true, nil
}

func (s *search) inDelayed(ctx context.Context, _ Range, yield func(Found) bool) (more bool, err error) {
	for delayed, err := range redisstream.DelayedMessages(ctx, s.client, s.topic) {
		if err != nil {
			return false, err
		}
		if !s.has(delayed.Fields) {
			continue
		}
		msg := s.decodeDelayed(delayed).Message
		if msg.Err == nil && msg.UUID == s.uuid && !yield(Found{Message: msg, Place: InDelayed}) {
			return false, nil
		}
	}
	return true, nil
}

func (s *search) inRetryQueues(ctx context.Context, _ Range, yield func(Found) bool) (more bool, err error) {
	_, groups, err := s.inspection.Groups(ctx, "")
	if err != nil {
		if stream.IsNoStream(err) {
			err = nil
		} else {
			err = topicError(s.topic, err)
		}
		return err == nil, err
	}
	for _, group := range groups {
		if group.Parked == 0 {
			continue
		}
		pages := s.inspection.Parked(group.Name)
		for next := true; next; {
			var page []stream.ParkedEntry
			if page, next, err = pages.Next(ctx); err != nil {
				return false, groupError(s.topic, group.Name, err)
			}
			for _, entry := range page {
				if more, err := s.offer(ctx, entry.Stored, InRetryQueue, yield); err != nil || !more {
					return more, err
				}
			}
		}
	}
	return true, nil
}

func (s *search) inDeadLetters(ctx context.Context, _ Range, yield func(Found) bool) (more bool, err error) {
	if err := s.searchLetters(ctx); err != nil {
		return false, err
	}
	for _, letter := range s.letters {
		groups, err := s.handled(ctx, letter.ID)
		if err != nil {
			return false, err
		}
		if !yield(Found{Message: letter.Message, Place: InDeadLetters, Groups: groups}) {
			return false, nil
		}
	}
	return true, nil
}

// handled returns what each group did with an entry.
func (s *search) handled(ctx context.Context, id string) ([]Handling, error) {
	if err := s.searchLetters(ctx); err != nil {
		return nil, err
	}
	groups, now, err := s.inspection.Handled(ctx, id)
	if stream.IsNoStream(err) {
		return nil, nil
	}
	if err != nil {
		return nil, topicError(s.topic, fmt.Errorf("entry %s: %w", id, err))
	}
	handlings := make([]Handling, len(groups))
	for i, group := range groups {
		handlings[i] = s.handlingOf(group, id, now)
	}
	return handlings, nil
}

func (s *search) handlingOf(group stream.HandledEntry, id string, now time.Time) Handling {
	h := Handling{Group: group.Group, Status: StatusHandled}
	for _, letter := range s.letters { // the newest one counts
		if letter.group == group.Group && letter.ID == id {
			h.Status, h.DeadLetter, h.Reason = StatusDeadLettered, letter.id, letter.reason
		}
	}
	switch {
	case group.Pending.ID != "":
		entry := pendingOf(group.Pending, now, nil)
		h.Status, h.Entry = StatusPending, &entry
	case group.Parked:
		h.Status = StatusParked
	case h.DeadLetter == "" && stream.Precedes(group.Position, id):
		h.Status = StatusUnread
	}
	return h
}
