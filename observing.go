package redisstream

import (
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/subscription"
)

// guardedObserver is the user's Observer. A panic of it is recovered and logged.
type guardedObserver struct {
	Observer

	logger   watermill.LoggerAdapter
	panicked atomic.Bool
}

// guard is deferred by each call of the Observer.
func (g *guardedObserver) guard() {
	if cause := recover(); cause != nil && !g.panicked.Swap(true) {
		g.logger.Error("Observer panicked: the event is lost; the stack is logged once", panicked(cause),
			watermill.LogFields{"stack": string(debug.Stack())})
	}
}

// publisherObserver observes a Publisher.
type publisherObserver struct{ guardedObserver }

// newPublisherObserver returns nil if there is no Observer.
func newPublisherObserver(observer Observer, logger watermill.LoggerAdapter) *publisherObserver {
	if observer == nil {
		return nil
	}
	return &publisherObserver{guardedObserver{Observer: observer, logger: logger}}
}

// now returns the time, or the zero time without an Observer.
func (o *publisherObserver) now() (now time.Time) {
	if o != nil {
		now = time.Now()
	}
	return now
}

func (o *publisherObserver) published(call *publication, failure *PublishError, took time.Duration) {
	event := PublishEvent{Topic: call.topic, Duration: took}
	if failure == nil {
		event.Published = len(call.messages)
	} else {
		event.Published, event.Failed, event.Uncertain = len(failure.Published), len(failure.Failed), len(failure.Uncertain)
		event.Err = failure
	}
	n := 0
	for i, msg := range call.messages {
		if failure == nil || n < len(failure.Published) && failure.Published[n] == msg {
			bytes, _ := call.requests[i].Fields.Sizes()
			event.Bytes += bytes
			n++
		}
	}
	defer o.guard()
	o.Published(event)
}

func (o *publisherObserver) sent(topic string, calls []*publishCall, messages int, took time.Duration) {
	event := PipelineEvent{Topic: topic, Messages: messages, Calls: len(calls), Duration: took}
	for _, call := range calls {
		event.Bytes += call.bytes
	}
	defer o.guard()
	o.PipelineSent(event)
}

func (o *publisherObserver) closed(took time.Duration) {
	defer o.guard()
	o.Closed(CloseEvent{Duration: took, Complete: true})
}

// subscriptionObserver observes a subscription.
type subscriptionObserver struct {
	observer guardedObserver
	about    Subscription
}

var _ subscription.Observer = (*subscriptionObserver)(nil)

// newSubscriptionObserver returns nil if there is no Observer.
func (c SubscriberConfig) newSubscriptionObserver(about Subscription, logger watermill.LoggerAdapter) *subscriptionObserver {
	if c.Observer == nil {
		return nil
	}
	return &subscriptionObserver{observer: guardedObserver{Observer: c.Observer, logger: logger}, about: about}
}

// Delivered is part of subscription.Observer, as all that follow.
func (o *subscriptionObserver) Delivered(id string, deliveries int64, at time.Time) {
	defer o.observer.guard()
	o.observer.Delivered(DeliveryEvent{Subscription: o.about, Deliveries: deliveries, Delay: max(0, at.Sub(addedAt(id)))})
}

// addedAt returns the time in the ID of an entry.
func addedAt(id string) time.Time {
	text, _, _ := strings.Cut(id, "-")
	ms, _ := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms)
}

func (o *subscriptionObserver) Handled(took time.Duration, nacked bool) {
	defer o.observer.guard()
	o.observer.Handled(HandlerEvent{Subscription: o.about, Duration: took, Nacked: nacked})
}

func (o *subscriptionObserver) Acked(entries int) {
	defer o.observer.guard()
	o.observer.Acked(AckEvent{Subscription: o.about, Entries: entries})
}

func (o *subscriptionObserver) TakenOver(entries, released int) {
	defer o.observer.guard()
	o.observer.TakenOver(TakeOverEvent{Subscription: o.about, Entries: entries, Released: released})
}

func (o *subscriptionObserver) LeasesLost(entries int) {
	defer o.observer.guard()
	o.observer.LeasesLost(LeaseLossEvent{Subscription: o.about, Entries: entries})
}

func (o *subscriptionObserver) DeadLettered(reason string) {
	defer o.observer.guard()
	o.observer.DeadLettered(DeadLetterEvent{Subscription: o.about, Reason: DeadLetterReason(reason)})
}

func (o *subscriptionObserver) Parked(entries int) {
	defer o.observer.guard()
	o.observer.Parked(ParkEvent{Subscription: o.about, Entries: entries})
}

func (o *subscriptionObserver) TrimmedUnread(entries int64) {
	defer o.observer.guard()
	o.observer.TrimmedUnread(TrimEvent{Subscription: o.about, Entries: entries})
}

func (o *subscriptionObserver) ReadAhead(entries, bytes int) {
	defer o.observer.guard()
	o.observer.ReadAhead(ReadAheadEvent{Subscription: o.about, Entries: entries, Bytes: bytes})
}

func (o *subscriptionObserver) Reconnected() {
	defer o.observer.guard()
	o.observer.Reconnected(ReconnectEvent{Subscription: o.about})
}

func (o *subscriptionObserver) Closed(took time.Duration, complete bool) {
	defer o.observer.guard()
	o.observer.Closed(CloseEvent{Subscription: o.about, Duration: took, Complete: complete})
}
