package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// entry is one entry of the stream from the moment that the server handed it to us until it is
// acknowledged there, released, or lost. Its mutable part is guarded by the inbox.
type entry struct {
	stream.Entry
	key  string           // its line, in an ordered subscription
	msg  *message.Message // decoded ahead for its key; nil: the lane decodes
	size int

	undeliverable error  // why no handler is to get it, once that is known; nil: the lane finds out
	failure       error  // what its handler returned last, if it told
	uuid          string // of its message, once it is to be dead-lettered

	state   state
	handed  int                // how often we gave it to a handler
	aside   int                // how often it could not be dead-lettered; then it keeps no line waiting
	lost    bool               // belongs to somebody else now
	trimmed bool               // no longer in the stream: nobody else can get it
	touched time.Time          // when its idle time on the server last began anew, at the latest
	since   time.Time          // since when a handler has it
	warned  time.Duration      // how long a handler had it when that was logged
	cancel  context.CancelFunc // ends the context of the message that is with the handler
	timer   *time.Timer        // ends its pause
}

type state uint8

const (
	queued   state = iota // owned by the inbox: in the queue or in a line
	paused                // owned by its timer
	inLane                // owned by a lane, and by the handler while the message is with it
	settling              // owned by the acker, or by the lane that dead-letters it: it needs no lease
	late                  // owned by its handler, after Close gave up waiting for it
)

// delivered is how often handlers saw the entry, in whatever process.
func (e *entry) delivered() int64 { return e.Deliveries - 1 + int64(e.handed) }

// isLater reports whether an entry may wait for one with the given ID: no handler has had it, and it is newer.
func (e *entry) isLater(id string) bool { return e.handed == 0 && stream.Precedes(id, e.ID) }
