package subscription

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// firstLateCheck and longestLateCheck are the pauses between checks of late handlers.
	firstLateCheck   = 10 * time.Millisecond
	longestLateCheck = 200 * time.Millisecond
	// lateReport is how long after the end of its lease a late ack is still logged.
	lateReport = 10 * time.Minute
	// lateCall bounds one call to the server.
	lateCall = 5 * time.Second
)

var errLateAck = errors.New("the lease ended before the ack")

// lateMessage is a message whose handler still ran when Close stopped waiting for it.
type lateMessage struct {
	entry   *entry
	uuid    string
	acked   <-chan struct{}
	nacked  <-chan struct{}
	context *deliveryContext
	message context.Context //nolint:containedctx // it has the decision of the handler
}

// lateHandlers are the messages that handlers still have when Close stops waiting. Close renews
// their leases instead of releasing them, so no other consumer gets them for ClaimMinIdle. An ack
// in that time counts, and a nack releases the message at once. The output is closed when all are
// settled or the lease is over. Timers do the work, so that no goroutine waits for a handler that
// may never return.
type lateHandlers struct {
	*Subscription

	logger watermill.LoggerAdapter // logs also after the end

	mu         sync.Mutex // workers add messages; then one timer function at a time uses all fields
	messages   []lateMessage
	unreleased bool      // a release is due, and failed so far
	until      time.Time // when the lease is over
	over       bool
	pause      time.Duration
}

// add takes a message over from its worker. If LateTimeout is 0, its entry is released with the
// others.
func (l *lateHandlers) add(messageContext context.Context, e *entry, msg *message.Message, ctx *deliveryContext) {
	if l.LateTimeout <= 0 {
		ctx.end()
		return
	}
	l.inbox.keepLate(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, lateMessage{e, msg.UUID, msg.Acked(), msg.Nacked(), ctx, messageContext})
}

// report logs the messages. After the end only late acks are logged.
func (l *lateHandlers) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.messages) == 0 || !l.backend.keepsLateMessages() || l.inbox.lostAll() {
		return
	}
	ids := make([]string, len(l.messages))
	for i, m := range l.messages {
		ids[i] = m.entry.ID
	}
	fields := someOf(ids)
	fields["released_after"] = l.LateTimeout.String()
	l.Logger.Info("handlers still have messages when the subscription ends; their acks count until others take the messages over", fields)
}

// watch checks the messages until all are settled or the time is over, and then finishes the
// subscription. It does not wait for the server.
func (l *lateHandlers) watch(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.messages) == 0 {
		l.over = true
		l.finish()
		return
	}
	l.until, l.pause = until, firstLateCheck
	time.AfterFunc(0, l.check)
}

func (l *lateHandlers) check() {
	var settled lateOutcome
	defer func() { settled.tell(l.Observer) }() // without the lock
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		l.reportLateAcks()
		return
	}
	settled = l.settle()
	switch {
	case len(l.messages) == 0 && !l.unreleased:
		l.finish()
		return
	case !time.Now().Before(l.until):
		l.expire()
	}
	l.pause = min(2*l.pause, longestLateCheck)
	time.AfterFunc(l.pause, l.check)
}

// lateOutcome is the events for an Observer about messages that late handlers settled.
type lateOutcome struct {
	handled       []lateHandled
	acked, parked int
}

type lateHandled struct {
	took   time.Duration
	nacked bool
}

func (o *lateOutcome) tell(observer Observer) {
	if observer == nil {
		return
	}
	for _, handled := range o.handled {
		observer.Handled(handled.took, handled.nacked)
	}
	if o.acked > 0 {
		observer.Acked(o.acked)
	}
	if o.parked > 0 {
		observer.Parked(o.parked)
	}
}

// settle sends the acks and nacks since the last check. If that fails, the next check sends them
// again.
func (l *lateHandlers) settle() (outcome lateOutcome) {
	var open, gone, nacked []lateMessage
	var acked []string
	commits := 0
	for _, m := range l.messages {
		switch {
		case l.hasNewOwner(m):
			gone = append(gone, m)
		case l.inbox.commitOf(m.entry) == committed: // it needs no ack
			commits, gone = commits+1, append(gone, m)
		case isClosed(m.acked):
			acked, gone = append(acked, m.entry.ID), append(gone, m)
		case isClosed(m.nacked):
			nacked = append(nacked, m)
		default:
			open = append(open, m)
		}
	}
	if len(gone)+len(nacked) == 0 && !l.unreleased {
		return outcome
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Subscription.messages), lateCall)
	defer cancel()
	outcome.parked = l.backend.postpone(ctx, l.postponements(nacked))
	if l.backend.ackLate(ctx, acked) != nil {
		return outcome
	}
	if l.backend.keepsLateMessages() {
		outcome.acked = len(acked) + commits
	}
	outcome.end(gone) // also if the release fails: their acks count
	l.messages = slices.Concat(nacked, open)
	l.unreleased = l.unreleased || len(nacked) > 0 || len(open) == 0
	if !l.unreleased || l.backend.releaseLate(ctx, l.releaseAllBut(open)) != nil {
		return outcome
	}
	l.unreleased = false
	outcome.end(nacked)
	l.messages = open
	return outcome
}

// postponements returns what is to go into the retry queue.
func (l *lateHandlers) postponements(nacked []lateMessage) (list []stream.Postponement) {
	for _, m := range nacked {
		if retry := l.Decision(m.message).Retry; retry.Asked {
			lease := stream.Lease{ID: m.entry.ID, Deliveries: m.entry.delivered()}
			list = append(list, stream.Postponement{Lease: lease, Wait: retry.Wait})
		}
	}
	return list
}

// hasNewOwner reports whether another consumer settles the message of a handler that is done.
func (l *lateHandlers) hasNewOwner(m lateMessage) bool {
	return l.inbox.commitOf(m.entry) == notHeld || m.isSettled() && l.inbox.lostAll()
}

// end ends messages that are settled.
func (o *lateOutcome) end(messages []lateMessage) {
	for _, m := range messages {
		m.context.end()
		if m.isSettled() {
			o.handled = append(o.handled, lateHandled{time.Since(m.entry.heldSince), isClosed(m.nacked)})
		}
	}
}

// releaseAllBut returns a release of all messages that are not open.
func (l *lateHandlers) releaseAllBut(open []lateMessage) stream.Release {
	release := stream.Release{Keep: make([]string, len(open))}
	for i, m := range open {
		release.Keep[i] = m.entry.ID
	}
	for _, m := range l.messages {
		release.Leases = append(release.Leases, stream.Lease{ID: m.entry.ID, Deliveries: m.entry.delivered()})
	}
	return release
}

// expire ends the wait: the lease is over, and another consumer takes the messages over.
func (l *lateHandlers) expire() {
	for _, m := range l.messages {
		m.context.end()
	}
	if !l.backend.keepsLateMessages() {
		l.messages = nil // their acks never counted
	}
	l.over = true
	l.finish()
}

// reportLateAcks logs acks that come after the lease.
func (l *lateHandlers) reportLateAcks() {
	open := l.messages[:0]
	for _, m := range l.messages {
		switch {
		case l.inbox.commitOf(m.entry) == committed: // it needs no ack
		case isClosed(m.acked):
			l.logger.Error("an ack came too late and does not count; the message is delivered again", errLateAck, m.fields())
		default:
			open = append(open, m)
		}
	}
	if l.messages = open; len(open) > 0 && time.Since(l.until) < lateReport {
		time.AfterFunc(time.Second, l.check)
	}
}

// isSettled reports whether the handler acked or nacked the message.
func (m lateMessage) isSettled() bool { return isClosed(m.acked) || isClosed(m.nacked) }

func (m lateMessage) fields() watermill.LogFields {
	return watermill.LogFields{"entry": m.entry.ID, "message_uuid": m.uuid}
}
