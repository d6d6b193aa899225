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
	confirm := stream.ReplicaWait{Replicas: config.WaitReplicas, Timeout: config.WaitTimeout}
	return &Publisher{
		config:  config,
		logger:  redact(logger),
		closing: make(chan struct{}),
		queues: publishQueues{
			adder: stream.NewAdder(config.Client, confirm), patience: patience(config.Client), spread: spreads(config.Client),
			poller: pollerOf(config.Client),
		},
	}, nil
}

// Publish adds the messages to the stream named topic, in their order and in pipelines of XADD
// commands, and returns when the server has them all, and with WaitReplicas so many of its replicas, too.
//
// All messages are marshaled first, so a bad one sends nothing. Calls share pipelines of up to 256 KiB. A call that is larger
// takes several, one after the other, and a message of 64 KiB or more one of its own; after a pipeline that fails, the rest of the
// call is not sent.
//
// When a message's context ends, Publish returns at once if nothing of the call was written to a connection. Otherwise it
// waits for the reply, for as long as the client's WriteTimeout and ReadTimeout say, and returns what became of it.
//
// If a message's context has a deadline, Publish waits so long for a server that can't be reached or takes nothing
// just now (LOADING, READONLY, CLUSTERDOWN and so on), and sends again what certainly was not added, unless messages behind it
// were: they stay in order. Without a deadline it fails at once. What the caller has to mend (OOM, NOPERM, WRONGTYPE and so on),
// and what may have been added, is never sent again.
//
// Every error is a *PublishError, which tells what became of each message; after Close it wraps ErrPublisherClosed. When Publish
// has returned, the messages are the caller's again.
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
	additions, err := p.marshal(topic, messages)
	if err != nil {
		return nothingSent(topic, messages, err)
	}
	watch := watchContexts(messages)
	defer watch.stop()
	call := publication{topic: topic, messages: messages, additions: additions, watch: &watch}
	failure, passes := p.attempt(call)
	if passes && watch.patient {
		failure = p.persist(failure, call)
	}
	if failure != nil {
		return failure
	}
	return nil
}

// Close waits for calls that are under way; those that come later fail with ErrPublisherClosed, and so do those that were
// waiting for the server to take messages. From a server that hangs it takes the client's time-outs, at most about twice. The client
// stays open. Safe to repeat; it always returns nil.
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

func nothingSent(topic string, messages []*message.Message, err error) *PublishError {
	return &PublishError{Topic: topic, Failed: slices.Clone(messages), Err: err}
}
