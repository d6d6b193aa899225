package redisstream

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
)

// Publisher adds messages to streams. It is safe for concurrent use. Concurrent calls are fast:
// those that come during a round trip share the next one.
type Publisher struct {
	config      PublisherConfig
	logger      watermill.LoggerAdapter
	queues      publishQueues
	partitioned partitionedTopics
	movers      movers // of delayed messages

	observer *publisherObserver // nil: none

	mu      sync.Mutex
	closed  bool
	closing chan struct{}  // closed with closed
	calls   sync.WaitGroup // under way
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher. A nil logger logs nothing. Errors wrap ErrInvalidConfig and
// name the field. No command is sent to the server yet.
func NewPublisher(config PublisherConfig, logger watermill.LoggerAdapter) (*Publisher, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	logger = redact(logger)
	replicas := stream.ReplicaWait{Replicas: config.WaitReplicas, Timeout: config.WaitTimeout}
	closing := make(chan struct{})
	observer := newPublisherObserver(config.Observer, logger)
	return &Publisher{
		config:  config,
		logger:  logger,
		closing: closing, observer: observer,
		queues: publishQueues{
			adder: stream.NewAdder(config.Client, replicas), timeout: replyTimeout(config.Client), spread: spreads(config.Client), observer: observer,
			poller: pollerOf(config.Client), closing: closing,
			idle:       min(maxIdleQueues*config.Partitions, maxKnownPartitions),
			idempotent: config.Idempotent || config.DeduplicationWindow > 0, resendWithin: resendWithin, window: config.DeduplicationWindow,
		},
		partitioned: newPartitionedTopics(config),
		movers:      movers{client: config.Client, logger: logger},
	}, nil
}

// Publish adds the messages to the stream named topic, in their order and in pipelines of XADD
// commands; with Idempotent, of XADD IDMP or a script. It returns when the server has all of them and, with WaitReplicas, when the replicas
// have confirmed them.
//
// All messages are marshaled first. If one fails, nothing is sent. Calls share pipelines of up to
// 256 KiB. A larger call takes several pipelines, one after the other. A message of 64 KiB or more
// has a pipeline of its own. After a pipeline that fails, the rest of the call is not sent.
//
// When a message's context ends, Publish returns at once if nothing of the call was written to a
// connection. Otherwise it waits for the reply, within the client's WriteTimeout and ReadTimeout,
// and returns the result.
//
// If a message's context has a deadline, Publish waits until then for a server that can't be
// reached or refuses writes for a while (LOADING, READONLY, CLUSTERDOWN and so on). It sends again
// the messages that certainly were not added, unless later messages of the call were: so they stay
// in order. Without a deadline it fails at once. It never sends again what the caller has to fix
// (OOM, NOPERM, WRONGTYPE and so on), nor what may have been added, unless the Publisher is Idempotent.
//
// A message with the metadata of Watermill's package components/delay is delivered when it is due,
// to all groups. Until then it is in the sorted set DelayedKey(topic) (ZADD, in a script that uses
// the server's clock). Metadata that can't be read is an error. When it is due, it is published with
// MaxLen and MaxAge of this Publisher; its ID has the time of that.
//
// With Partitions each message goes to a partition of the topic. Messages of one call for partitions on
// different servers go at the same time. What is said of the rest of a call, and of its order, holds for
// its messages on each server. With MaxAge, WaitReplicas, Idempotent or DeduplicationWindow each
// partition counts as a server.
//
// Every error is a *PublishError, which has the result of each message. After Close it wraps
// ErrPublisherClosed. Publish does not use the messages after it returned.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	began := p.observer.now()
	call := newPublication(topic, messages)
	open := p.begin()
	if open {
		defer p.calls.Done()
	}
	failure := p.publish(call, open)
	if p.observer != nil {
		p.observer.published(call, failure, time.Since(began))
	}
	if failure != nil {
		return failure
	}
	return nil
}

func (p *Publisher) publish(call *publication, open bool) *PublishError {
	if !open {
		return nothingSent(call.topic, call.messages, ErrPublisherClosed)
	}
	if err := check(call.topic, call.messages); err != nil {
		return nothingSent(call.topic, call.messages, err)
	}
	if p.config.Partitions > 0 {
		if !stream.CanHavePartitions(call.topic) {
			return nothingSent(call.topic, call.messages, errPartitionedName)
		}
		call.inPartitions(p.partitioned.of(call.topic))
	}
	if err := p.marshal(call); err != nil {
		return nothingSent(call.topic, call.messages, err)
	}
	call.watch = watchContexts(call.messages)
	defer call.watch.stop()
	var failure *PublishError
	if call.partitioned != nil {
		failure = p.publishToPartitions(call)
	} else if failure = p.publishPart(call); failure != nil {
		failure.Err = explainWrongType(call.messages[0].Context(), p.config.Client, call.topic, failure.Err)
	}
	p.armMovers(call)
	return failure
}

// Close waits for the calls that are under way. Later calls fail with ErrPublisherClosed, and so do
// calls that wait until a deadline for the server. If the server does not answer, Close takes at
// most about twice the client's time-outs. The client stays open. Close is safe to repeat and
// always returns nil. With Idempotent it waits for attempts that are under way, and not for further
// ones: what has no answer then is Uncertain.
func (p *Publisher) Close() error {
	began := time.Now()
	p.mu.Lock()
	first := !p.closed
	if first {
		p.closed = true
		close(p.closing)
	}
	p.mu.Unlock()
	p.calls.Wait()
	p.partitioned.close()
	p.movers.close()
	p.queues.wait() // for pipelines whose callers returned when their context ended
	if first && p.observer != nil {
		p.observer.closed(time.Since(began))
	}
	return nil
}

// begin counts a call as under way, unless the Publisher is closed. The caller ends it with
// calls.Done.
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
