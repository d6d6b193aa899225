package redisstream

// Observer gets events that only the library knows, for counters and histograms. Set it in
// PublisherConfig.Observer and SubscriberConfig.Observer. The modules redisstreamprom and
// redisstreamotel have one for Prometheus and one for OpenTelemetry.
//
// Methods are called by the goroutine that does the work, without a lock of the library, and by
// many goroutines at the same time. They must be quick: messages wait for them. If a method panics,
// the event is lost, the stack is logged once, and messages are not affected.
//
// Later versions may add methods. Embed NopObserver in an implementation, so that it compiles with
// later versions.
type Observer interface { //nolint:interfacebloat // one method for each kind of event
	// Published is called at the end of each call of Publish, after its last attempt.
	Published(event PublishEvent)
	// PipelineSent is called after each pipeline of a Publisher that was sent, whether or not the
	// server answered. With Idempotent each attempt is one.
	PipelineSent(event PipelineEvent)

	// Delivered is called when a handler has received a message.
	Delivered(event DeliveryEvent)
	// Handled is called when a handler has acked or nacked a message, before the ack is sent. It is
	// not called for a handler that settles its message after the end of its lease.
	Handled(event HandlerEvent)
	// Acked is called when the server has acknowledged entries (XACK). It is never called in a
	// fan-out and with AutoAck, and not for dead letters and parked entries.
	Acked(event AckEvent)
	// TakenOver is called when a subscription has claimed entries of other consumers (XCLAIM), and
	// before they are delivered.
	TakenOver(event TakeOverEvent)
	// LeasesLost is called when a renewal or a Commit finds that the subscription does not hold
	// entries any more: another consumer has taken them over.
	LeasesLost(event LeaseLossEvent)
	// DeadLettered is called when the server has moved an entry to DeadLetterTopic.
	DeadLettered(event DeadLetterEvent)
	// Parked is called when the server has put entries into the retry queue of the group.
	Parked(event ParkEvent)
	// TrimmedUnread is called when a subscription finds that entries were dropped from the stream
	// before its group, or the fan-out, read them. It looks for them every ClaimInterval. Each
	// member of a group reports them.
	TrimmedUnread(event TrimEvent)
	// ReadAhead is called after each read, also after one that brought nothing, and so at least every
	// BlockTime while the subscription has room. At the end of the subscription it is called with
	// zeros.
	ReadAhead(event ReadAheadEvent)
	// Reconnected is called when the connection of a subscription was opened again and the server has
	// accepted it. Connections of the client's pool are not observed.
	Reconnected(event ReconnectEvent)

	// Closed is called when a subscription has ended, by Close or the end of its context, and at the
	// end of the first Close of a Publisher.
	Closed(event CloseEvent)
}

// NopObserver is an Observer that does nothing. Embed it in an Observer that needs only some events.
type NopObserver struct{}

var _ Observer = NopObserver{}

// Published does nothing.
func (NopObserver) Published(PublishEvent) {}

// PipelineSent does nothing.
func (NopObserver) PipelineSent(PipelineEvent) {}

// Delivered does nothing.
func (NopObserver) Delivered(DeliveryEvent) {}

// Handled does nothing.
func (NopObserver) Handled(HandlerEvent) {}

// Acked does nothing.
func (NopObserver) Acked(AckEvent) {}

// TakenOver does nothing.
func (NopObserver) TakenOver(TakeOverEvent) {}

// LeasesLost does nothing.
func (NopObserver) LeasesLost(LeaseLossEvent) {}

// DeadLettered does nothing.
func (NopObserver) DeadLettered(DeadLetterEvent) {}

// Parked does nothing.
func (NopObserver) Parked(ParkEvent) {}

// TrimmedUnread does nothing.
func (NopObserver) TrimmedUnread(TrimEvent) {}

// ReadAhead does nothing.
func (NopObserver) ReadAhead(ReadAheadEvent) {}

// Reconnected does nothing.
func (NopObserver) Reconnected(ReconnectEvent) {}

// Closed does nothing.
func (NopObserver) Closed(CloseEvent) {}
