package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// Publisher adds messages to streams. It is safe for concurrent use, and faster so: calls that
// come while a round trip is under way share the next.
type Publisher struct {
	config PublisherConfig
	logger watermill.LoggerAdapter
	queues publishQueues

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // under way
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher. A nil logger logs nothing. Errors wrap ErrInvalidConfig and
// name the field; the server is not asked anything yet.
func NewPublisher(config PublisherConfig, logger watermill.LoggerAdapter) (*Publisher, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	confirm := stream.Confirmation{Replicas: config.WaitReplicas, Timeout: config.WaitTimeout}
	return &Publisher{
		config: config,
		logger: loggerOrNop(logger),
		queues: publishQueues{adder: stream.NewAdder(config.Client, confirm)},
	}, nil
}

// Publish adds the messages to the stream named topic, in their order and in one pipeline of XADD
// commands, and returns when the server has them all, and with WaitReplicas so many of its replicas, too.
//
// All messages are marshaled first, so a bad one sends nothing. When a message's context is cancelled,
// Publish returns at once. Every error is a *PublishError, which tells what became of
// each message; after Close it wraps ErrPublisherClosed.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	if !p.begin() {
		return nothingSent(topic, messages, ErrPublisherClosed)
	}
	defer p.calls.Done()
	additions, err := p.marshal(topic, messages)
	if err != nil {
		return nothingSent(topic, messages, err)
	}
	watch := watchContexts(messages)
	defer watch.stop()
	if err := watch.err(); err != nil {
		return nothingSent(topic, messages, err)
	}
	call := &publishCall{ctx: messages[0].Context(), additions: additions, done: make(chan struct{})}
	queue := p.queues.enter(topic)
	if watch.cancelled == nil {
		queue.Do(call)
		<-call.done
		return outcome(topic, messages, additions)
	}
	queue.Add(call)
	select {
	case <-call.done:
		return outcome(topic, messages, additions)
	case <-watch.cancelled:
	}
	if queue.withdraw(call) {
		return nothingSent(topic, messages, watch.err())
	}
	return &PublishError{Topic: topic, Uncertain: slices.Clone(messages), Err: watch.err()}
}

// Close waits for calls that are under way; those that come later fail with ErrPublisherClosed.
// The client stays open. Safe to repeat; it always returns nil.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.calls.Wait()
	p.queues.wait() // for pipelines whose callers left when their context ended
	return nil
}

// begin admits a call unless the Publisher is closed; the caller ends it with calls.Done.
func (p *Publisher) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.calls.Add(1)
	return true
}

var (
	errEmptyTopic = errors.New("topic is empty")
	errNilMessage = errors.New("message is nil")
)

func (p *Publisher) marshal(topic string, messages []*message.Message) ([]*stream.Addition, error) {
	if topic == "" {
		return nil, errEmptyTopic
	}
	list := make([]stream.Addition, len(messages))
	additions := make([]*stream.Addition, len(messages))
	for i, msg := range messages {
		if msg == nil {
			return nil, fmt.Errorf("message %d of %d: %w", i+1, len(messages), errNilMessage)
		}
		fields, err := p.fields(topic, msg)
		if err != nil {
			return nil, fmt.Errorf("message %d of %d, UUID %q: marshal: %w", i+1, len(messages), msg.UUID, err)
		}
		list[i] = stream.Addition{Fields: fields, MaxLen: p.config.MaxLen}
		additions[i] = &list[i]
	}
	return additions, nil
}

// fields returns the names and values of the message's entry.
func (p *Publisher) fields(topic string, msg *message.Message) ([]any, error) {
	if m, ok := p.config.Marshaler.(MsgpackMarshaler); ok {
		return m.fieldList(msg)
	}
	fields, err := p.config.Marshaler.Marshal(topic, msg)
	if err != nil {
		return nil, err
	}
	for name, value := range fields {
		switch value.(type) {
		case string, []byte:
		default: // go-redis may fail to send it, and with it all that shares its pipeline
			return nil, fmt.Errorf("field %q is a %T, not a string or []byte", name, value)
		}
	}
	return stream.FieldList(fields), nil
}

func nothingSent(topic string, messages []*message.Message, err error) error {
	return &PublishError{Topic: topic, Failed: slices.Clone(messages), Err: err}
}

// outcome sorts the messages of a call by what became of them; nil if all are published.
func outcome(topic string, messages []*message.Message, additions []*stream.Addition) error {
	all := PublishError{Topic: topic}
	for _, addition := range additions {
		if addition.Err != nil {
			all.Err = addition.Err
			break
		}
	}
	if all.Err == nil {
		return nil
	}
	for i, addition := range additions {
		switch {
		case addition.Err == nil:
			all.Published = append(all.Published, messages[i])
		case stream.NotApplied(addition.Err):
			all.Failed = append(all.Failed, messages[i])
		default:
			all.Uncertain = append(all.Uncertain, messages[i])
		}
	}
	return &all
}

// contextWatch tells when one of several contexts ends.
type contextWatch struct {
	contexts  []context.Context
	cancelled chan struct{} // nil: none can end
	stops     []func() bool
}

func watchContexts(messages []*message.Message) *contextWatch {
	w := &contextWatch{}
	var last <-chan struct{} // contexts may not be comparable
	for _, msg := range messages {
		ctx := msg.Context()
		if done := ctx.Done(); done != nil && done != last {
			w.contexts, last = append(w.contexts, ctx), done
		}
	}
	if len(w.contexts) == 0 {
		return w
	}
	w.cancelled = make(chan struct{})
	var once sync.Once
	for _, ctx := range w.contexts {
		w.stops = append(w.stops, context.AfterFunc(ctx, func() { once.Do(func() { close(w.cancelled) }) }))
	}
	return w
}

func (w *contextWatch) err() error {
	for _, ctx := range w.contexts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (w *contextWatch) stop() {
	for _, stop := range w.stops {
		stop()
	}
}

func loggerOrNop(logger watermill.LoggerAdapter) watermill.LoggerAdapter {
	if logger == nil {
		return watermill.NopLogger{}
	}
	return logger
}
