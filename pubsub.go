package redisstream

import (
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// PubSub is a Publisher and a Subscriber in one value, for code that takes a Pub/Sub. Use a
// Publisher and a Subscriber of their own where you can: then each closes alone.
//
// A Router closes the publisher of a handler that it stops. Give it PubSub.Subscriber and a
// Publisher that it may close, unless the whole Router stops.
type PubSub struct {
	*Publisher
	*Subscriber
}

var (
	_ message.Publisher            = (*PubSub)(nil)
	_ message.Subscriber           = (*PubSub)(nil)
	_ message.SubscribeInitializer = (*PubSub)(nil)
)

// NewPubSub returns a PubSub. Each configuration has its own Client, which may be the same. A nil
// logger logs nothing. Errors wrap ErrInvalidConfig and name the field; no command is sent to the
// server yet.
func NewPubSub(publisher PublisherConfig, subscriber SubscriberConfig, logger watermill.LoggerAdapter) (*PubSub, error) {
	p, err := NewPublisher(publisher, logger)
	if err != nil {
		return nil, err
	}
	s, err := NewSubscriber(subscriber, logger)
	if err != nil {
		return nil, err
	}
	return &PubSub{Publisher: p, Subscriber: s}, nil
}

// Close closes the Subscriber and then the Publisher, so that handlers that finish meanwhile can
// still publish. It returns the errors of both, joined. The clients stay open. Close is safe to
// repeat.
func (p *PubSub) Close() error {
	return errors.Join(p.Subscriber.Close(), p.Publisher.Close())
}
