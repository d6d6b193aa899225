package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

var (
	errNoTx      = errors.New("the message's context has no transaction; use ContextWithTx, CommitHandler or TxPublisher.In")
	errTxDelayed = errors.New("a delayed message can't be part of a transaction")
)

// TxPublisherConfig configures a TxPublisher.
type TxPublisherConfig struct {
	// Marshaler turns a message into the fields of an entry, as in PublisherConfig. Defaults to
	// MsgpackMarshaler{}.
	Marshaler Marshaler

	// MaxLen caps each stream at about that many entries (XADD ... MAXLEN ~), as in
	// PublisherConfig. Defaults to 0: no cap.
	MaxLen int64
}

// TxPublisher queues messages in a transaction: that of Commit, or one of your own, as of
// client.TxPipelined. They are in their streams when the transaction is made, together with its
// other effects, or not at all. It is safe for concurrent use if the transactions are different
// ones.
type TxPublisher struct {
	config    TxPublisherConfig
	marshaler *Publisher // marshals only
}

var _ message.Publisher = (*TxPublisher)(nil)

// NewTxPublisher returns a TxPublisher. It needs no client, and there is nothing to close.
func NewTxPublisher(config TxPublisherConfig) *TxPublisher {
	config.MaxLen = max(config.MaxLen, 0)
	with := PublisherConfig{Marshaler: config.Marshaler}.withDefaults()
	return &TxPublisher{config: config, marshaler: &Publisher{config: with, logger: redact(nil)}}
}

// Publish queues an XADD for each message in the transaction that the message's context has; see
// ContextWithTx. A CQRS EventBus passes on the context of its caller. A nil error means that the
// messages are queued. What is wrong with the transaction as a whole is known when it is made.
//
// All messages are marshaled first. If one fails, none is queued. A delayed message (Watermill's
// components/delay) is an error, unless it is due.
func (p *TxPublisher) Publish(topic string, messages ...*message.Message) error {
	return p.queue(topic, messages, TxFromContext)
}

// In returns a Publisher that queues its messages in tx, whatever their contexts have. Its Close
// does nothing.
func (p *TxPublisher) In(tx redis.Pipeliner) message.Publisher { return boundTxPublisher{p, tx} }

// Close does nothing and returns nil.
func (*TxPublisher) Close() error { return nil }

// boundTxPublisher is a TxPublisher for one transaction.
type boundTxPublisher struct {
	*TxPublisher

	tx redis.Pipeliner
}

// Publish is part of message.Publisher.
func (p boundTxPublisher) Publish(topic string, messages ...*message.Message) error {
	return p.queue(topic, messages, func(context.Context) (redis.Pipeliner, bool) { return p.tx, p.tx != nil })
}

func (p *TxPublisher) queue(topic string, messages []*message.Message, txOf func(context.Context) (redis.Pipeliner, bool)) error {
	if err := check(topic, messages); err != nil {
		return fmt.Errorf("publish to %q: %w", topic, err)
	}
	queue := make([]func(), len(messages))
	for i, msg := range messages {
		tx, ok := txOf(msg.Context())
		if !ok {
			return fmt.Errorf("publish to %q: message %d of %d: %w", topic, i+1, len(messages), errNoTx)
		}
		fields, err := p.fields(topic, msg)
		if err != nil {
			return fmt.Errorf("publish to %q: message %d of %d, UUID %q: %w", topic, i+1, len(messages), msg.UUID, err)
		}
		queue[i] = func() { stream.QueueAdd(msg.Context(), tx, topic, fields, p.config.MaxLen) }
	}
	for _, add := range queue {
		add()
	}
	return nil
}

// fields returns the fields of a message that is not delayed.
func (p *TxPublisher) fields(topic string, msg *message.Message) (fields stream.FieldList, err error) {
	wait, err := delayOf(msg.Metadata, time.Now())
	if err != nil {
		return fields, err
	}
	if wait > 0 {
		return fields, errTxDelayed
	}
	if fields, err = p.marshaler.fields(topic, msg); err != nil {
		return fields, fmt.Errorf("marshal: %w", err)
	}
	return fields, nil
}
