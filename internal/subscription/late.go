package subscription

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// firstLateLook and longestLateLook are the pauses between looks at late handlers.
	firstLateLook   = 10 * time.Millisecond
	longestLateLook = 200 * time.Millisecond
	// lateWatch is how long after the end of its lease an ack is still noticed, to be logged.
	lateWatch = 10 * time.Minute
	// lateCall bounds one call to the server.
	lateCall = 5 * time.Second
)

// lateMessage is a message whose handler still ran when Close gave up waiting for it.
type lateMessage struct {
	entry  *entry
	uuid   string
	acked  <-chan struct{}
	nacked <-chan struct{}
	cancel context.CancelFunc
}

// lateHandlers are the messages that handlers still have when Close gives up waiting. Close does not release them: their lease
// was renewed and runs for ClaimMinIdle, so that nobody else starts them while a handler may still be at work. An ack in that
// time counts, a nack releases the message at once, and the output is closed when all are settled or the lease is over. It
// works by timers, so that no goroutine waits for a handler that may never return.
type lateHandlers struct {
	*Subscription

	logger watermill.LoggerAdapter // also after the end

	mu       sync.Mutex // the lanes add; after that one timer function at a time uses the rest
	messages []lateMessage
	until    time.Time // when the lease is over
	over     bool
	pause    time.Duration
}

// add takes a message over from its lane. If there is no time for it, its entry is released with the others.
func (l *lateHandlers) add(e *entry, msg *message.Message, cancel context.CancelFunc) {
	if l.LateTimeout <= 0 {
		cancel()
		return
	}
	l.inbox.outlast(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, lateMessage{e, msg.UUID, msg.Acked(), msg.Nacked(), cancel})
}

// report logs which messages there are. It is the last chance: after the end only a late ack is logged.
func (l *lateHandlers) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.messages) == 0 || l.Group == nil {
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

// watch looks after the messages until the time is over, and finishes the subscription then or when all are settled. It does
// not wait for the server.
func (l *lateHandlers) watch(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.messages) == 0 {
		l.over = true
		l.finish()
		return
	}
	l.until, l.pause = until, firstLateLook
	time.AfterFunc(0, l.look)
}

func (l *lateHandlers) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		l.lookForLateAcks()
		return
	}
	l.settle()
	switch {
	case len(l.messages) == 0:
		l.finish()
		return
	case !time.Now().Before(l.until):
		l.expire()
	}
	l.pause = min(2*l.pause, longestLateLook)
	time.AfterFunc(l.pause, l.look)
}

// settle tells the server what handlers decided since. What it does not get is tried again at the next look.
func (l *lateHandlers) settle() {
	var open, done []lateMessage
	var acked []string
	nacked := false
	for _, m := range l.messages {
		switch {
		case isClosed(m.acked):
			acked, done = append(acked, m.entry.ID), append(done, m)
		case isClosed(m.nacked):
			nacked, done = true, append(done, m)
		default:
			open = append(open, m)
		}
	}
	if len(done) == 0 {
		return
	}
	if l.Group == nil || l.tell(acked, open, nacked || len(open) == 0) {
		for _, m := range done {
			m.cancel()
		}
		l.messages = open
	}
}

// tell acknowledges entries, and releases all that is neither acknowledged nor open.
func (l *lateHandlers) tell(acked []string, open []lateMessage, release bool) (done bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Subscription.messages), lateCall)
	defer cancel()
	if len(acked) > 0 {
		if err := l.Group.Ack(ctx, acked); err != nil && !stream.IsGroupGone(err) {
			return false
		}
	}
	if release {
		keep := make([]string, len(open))
		for i, m := range open {
			keep[i] = m.entry.ID
		}
		var leases []stream.Lease
		for _, m := range l.messages {
			leases = append(leases, stream.Lease{ID: m.entry.ID, Deliveries: m.entry.delivered()})
		}
		if _, err := l.Release(ctx, stream.Release{Leases: leases, Keep: keep}); err != nil && !stream.IsGroupGone(err) {
			return false
		}
	}
	return true
}

// expire ends the wait: the lease is over, and another consumer takes the messages over.
func (l *lateHandlers) expire() {
	for _, m := range l.messages {
		m.cancel()
	}
	if l.Group == nil {
		l.messages = nil // their acks never counted
	}
	l.over = true
	l.finish()
}

// lookForLateAcks logs acks that come after the lease.
func (l *lateHandlers) lookForLateAcks() {
	open := l.messages[:0]
	for _, m := range l.messages {
		if isClosed(m.acked) {
			l.logger.Error("an ack came too late and does not count; the message is delivered again", errLateAck, m.fields())
		} else {
			open = append(open, m)
		}
	}
	if l.messages = open; len(open) > 0 && time.Since(l.until) < lateWatch {
		time.AfterFunc(time.Second, l.look)
	}
}

func (m lateMessage) fields() watermill.LogFields {
	return watermill.LogFields{"entry": m.entry.ID, "message_uuid": m.uuid}
}
