package subscription

import (
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// entry is one entry of the stream, from the reply that brought it until it is acknowledged,
// released or lost. The inbox's lock guards its mutable part.
type entry struct {
	stream.Entry
	key  string           // its key queue, in an ordered subscription
	msg  *message.Message // decoded early for its key; nil: the worker decodes
	size int              // bytes of its fields

	state      state
	commit     commitState
	lost       bool             // it belongs to another consumer now, or is acknowledged
	again      bool             // it came again while the postponer had it: it is ours, and due
	trimmed    bool             // it is no longer in the stream, so that nobody else can get it
	handed     int32            // deliveries by this subscription
	deferrals  int32            // failed attempts to dead-letter it; if any, it blocks no key
	leasedAt   time.Time        // its lease began then or later
	heldSince  time.Time        // since when a handler has it
	reportedAt time.Duration    // how long a handler had it when that was last logged
	context    *deliveryContext // of the message that its handler has; nil: none has it
	timer      *time.Timer      // ends its retry pause
	trouble    *trouble         // nil: none yet
}

// trouble is what is known of an entry that failed.
type trouble struct {
	undeliverable error     // why no handler gets it; nil: the worker finds out
	nackedAt      time.Time // when a handler nacked it first; zero: none did
	failure       error     // the last error of its handler, if the handler recorded one
	uuid          string    // of its message, for log lines about dead-lettering
	notBefore     time.Time // when its handler wants it again; zero: whenever
	mayBeQueued   bool      // a reply was lost, and it may be in the retry queue
}

// inTrouble returns the trouble of the entry, to add to it.
func (e *entry) inTrouble() *trouble {
	if e.trouble == nil {
		e.trouble = new(trouble)
	}
	return e.trouble
}

// nacked records a nack of its handler, and the handler's error.
func (e *entry) nacked(failure error) {
	t := e.inTrouble()
	t.failure = failure
	if t.nackedAt.IsZero() {
		t.nackedAt = time.Now()
	}
}

// known returns the trouble of the entry, to read it.
func (e *entry) known() trouble {
	if e.trouble == nil {
		return trouble{}
	}
	return *e.trouble
}

// state is the owner of an entry.
type state uint8

const (
	queued    state = iota // the inbox: it is ready, or waits in its key queue
	paused                 // its retry timer
	inFlight               // a worker, and the handler while it has the message
	settling               // the acker, or the worker that dead-letters it: it needs no lease
	releasing              // the reader, which releases it because of a pause
	late                   // its handler, after Close stopped waiting for it
)

// next lists the states that may follow each state. An entry that ends has no further state.
var next = map[state][]state{
	queued:    {inFlight, releasing},
	paused:    {queued, releasing},
	inFlight:  {paused, settling, late, queued},
	settling:  {paused, queued},
	releasing: {paused, queued},
	late:      {},
}

// become changes the state. A change that is not in the table is a bug: two owners would work on
// one entry.
func (e *entry) become(to state) {
	if slices.Contains(next[e.state], to) {
		e.state = to
		return
	}
	panic(fmt.Sprintf("entry %s: state %d can't follow %d", e.ID, to, e.state))
}

// delivered counts the deliveries to handlers, by all processes.
func (e *entry) delivered() int64 { return e.Deliveries - 1 + int64(e.handed) }

// mayBeAcknowledged reports whether the server may have an ack of ours.
func (e *entry) mayBeAcknowledged() bool {
	return e.state == settling || e.commit == committing || e.commit == committed
}

// isLater reports whether the entry may wait for the one with the given ID: it is newer, and no
// handler had it.
func (e *entry) isLater(id string) bool { return e.handed == 0 && stream.Precedes(id, e.ID) }

// forgetContent frees the memory that the entry shares with other entries of its reply.
func (e *entry) forgetContent() {
	e.DropFields()
	e.msg = nil
}
