package redisstream

import (
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

	mu      sync.Mutex
	closed  bool
	closing chan struct{}  // closed with closed
	calls   sync.WaitGroup // under way
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
		config:  config,
		logger:  discreet(logger),
		closing: make(chan struct{}),
		queues:  publishQueues{adder: stream.NewAdder(config.Client, confirm)},
	}, nil
}

// Publish adds the messages to the stream named topic, in their order and in one pipeline of XADD
// commands, and returns when the server has them all, and with WaitReplicas so many of its replicas, too.
//
// All messages are marshaled first, so a bad one sends nothing. When a message's context is cancelled,
// Publish returns at once. If one has a deadline, Publish waits so long for a server that can't be reached or takes nothing
// just now (LOADING, READONLY, CLUSTERDOWN and so on), and sends again what certainly was not added; without one it
// fails at once. What the caller has to mend (OOM, NOPERM, WRONGTYPE and so on), and what may have been
// added, is never sent again.
//
// Every error is a *PublishError, which tells what became of each message; after Close it wraps ErrPublisherClosed.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	if !p.begin() {
		return nothingSent(topic, messages, ErrPublisherClosed)
	}
	defer p.calls.Done()
	if err := check(topic, messages); err != nil {
		return nothingSent(topic, messages, err)
	}
	watch := watchContexts(messages)
	defer watch.stop()
	failure, passes := p.attempt(topic, messages, &watch)
	if passes && watch.patient {
		failure = p.persist(failure, messages, &watch)
	}
	if failure != nil {
		return failure
	}
	return nil
}

// attempt publishes the messages once. If it fails, it also reports whether trying again may help.
func (p *Publisher) attempt(topic string, messages []*message.Message, watch *contextWatch) (failure *PublishError, passes bool) {
	additions, err := p.marshal(topic, messages)
	if err == nil {
		err = watch.err()
	}
	if err != nil {
		return nothingSent(topic, messages, err), false
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
		return nothingSent(topic, messages, watch.err()), false
	}
	return &PublishError{Topic: topic, Uncertain: slices.Clone(messages), Err: watch.err()}, false
}

// Close waits for calls that are under way; those that come later fail with ErrPublisherClosed, and so do those that were
// waiting for the server to take messages. The client stays open. Safe to repeat; it always returns nil.
func (p *Publisher) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
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

func check(topic string, messages []*message.Message) error {
	if topic == "" {
		return errEmptyTopic
	}
	if i := slices.Index(messages, nil); i >= 0 {
		return fmt.Errorf("message %d of %d: %w", i+1, len(messages), errNilMessage)
	}
	return nil
}

func (p *Publisher) marshal(topic string, messages []*message.Message) ([]stream.Addition, error) {
	additions := make([]stream.Addition, len(messages))
	for i, msg := range messages {
		fields, err := p.fields(topic, msg)
		if err != nil {
			return nil, fmt.Errorf("message %d of %d, UUID %q: marshal: %w", i+1, len(messages), msg.UUID, err)
		}
		additions[i] = stream.Addition{Fields: fields, MaxLen: p.config.MaxLen, MaxAge: p.config.MaxAge}
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

func nothingSent(topic string, messages []*message.Message, err error) *PublishError {
	return &PublishError{Topic: topic, Failed: slices.Clone(messages), Err: err}
}

// outcome sorts the messages of a call by what became of them; nil if all are published. It also reports whether
// trying again may help all that are not.
func outcome(topic string, messages []*message.Message, additions []stream.Addition) (failure *PublishError, passes bool) {
	first := slices.IndexFunc(additions, func(a stream.Addition) bool { return a.Err != nil })
	if first < 0 {
		return nil, false
	}
	failure, passes = &PublishError{Topic: topic, Err: stream.Discreet(additions[first].Err)}, true
	for i, addition := range additions {
		switch {
		case addition.Err == nil:
			failure.Published = append(failure.Published, messages[i])
			continue
		case stream.IsNotApplied(addition.Err):
			failure.Failed = append(failure.Failed, messages[i])
		default:
			failure.Uncertain = append(failure.Uncertain, messages[i])
		}
		passes = passes && stream.WillPass(addition.Err)
	}
	return failure, passes
}
