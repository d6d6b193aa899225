package main

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// wiring builds the parts of the CQRS component. All its streams have one prefix.
type wiring struct {
	client    redis.UniversalClient
	publisher message.Publisher
	router    *message.Router
	prefix    string

	subscribers []message.Subscriber
}

var marshaler = cqrs.JSONMarshaler{GenerateName: cqrs.StructName}

// commandTopic returns the stream of a kind of commands.
func (w *wiring) commandTopic(name string) string { return w.prefix + "-command-" + name }

// eventTopic returns the one stream of all events, so that each group gets them in order.
func (w *wiring) eventTopic() string { return w.prefix + "-events" }

// subscriber returns a new Subscriber in the named group.
func (w *wiring) subscriber(group string) (message.Subscriber, error) {
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: w.client, ConsumerGroup: group}, nil)
	if err != nil {
		return nil, err
	}
	w.subscribers = append(w.subscribers, subscriber)
	return subscriber, nil
}

// close closes the subscribers and removes the streams. The Router does not close its subscribers
// when its context ends.
func (w *wiring) close(ctx context.Context) {
	for _, subscriber := range w.subscribers {
		_ = subscriber.Close()
	}
	for _, topic := range []string{w.eventTopic(), w.commandTopic(marshaler.Name(PlaceOrder{}))} {
		w.client.Del(ctx, topic)
	}
}

func (w *wiring) buses() (*cqrs.CommandBus, *cqrs.EventBus, error) {
	commands, err := cqrs.NewCommandBusWithConfig(w.publisher, cqrs.CommandBusConfig{
		GeneratePublishTopic: func(params cqrs.CommandBusGeneratePublishTopicParams) (string, error) {
			return w.commandTopic(params.CommandName), nil
		},
		Marshaler: marshaler,
	})
	if err != nil {
		return nil, nil, err
	}
	events, err := cqrs.NewEventBusWithConfig(w.publisher, cqrs.EventBusConfig{
		GeneratePublishTopic: func(cqrs.GenerateEventPublishTopicParams) (string, error) {
			return w.eventTopic(), nil
		},
		Marshaler: marshaler,
	})
	return commands, events, err
}

func (w *wiring) commandProcessor() (*cqrs.CommandProcessor, error) {
	return cqrs.NewCommandProcessorWithConfig(w.router, cqrs.CommandProcessorConfig{
		GenerateSubscribeTopic: func(params cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
			return w.commandTopic(params.CommandName), nil
		},
		SubscriberConstructor: func(params cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return w.subscriber(params.HandlerName)
		},
		Marshaler: marshaler,
	})
}

func (w *wiring) eventGroups() (*cqrs.EventGroupProcessor, error) {
	return cqrs.NewEventGroupProcessorWithConfig(w.router, cqrs.EventGroupProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.EventGroupProcessorGenerateSubscribeTopicParams) (string, error) {
			return w.eventTopic(), nil
		},
		SubscriberConstructor: func(params cqrs.EventGroupProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return w.subscriber(params.EventGroupName)
		},
		AckOnUnknownEvent: true, // the kitchen has no handler for OrderReady
		Marshaler:         marshaler,
	})
}
