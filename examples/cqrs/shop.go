package main

import (
	"context"
	"log"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
)

type (
	// PlaceOrder is a command.
	PlaceOrder struct{ Order string }
	// OrderPlaced is an event.
	OrderPlaced struct{ Order string }
	// OrderReady is an event.
	OrderReady struct{ Order string }
)

type shop struct {
	events *cqrs.EventBus
	lines  *log.Logger
	orders int    // number of orders
	close  func() // called when all orders are ready

	ready map[string]bool // orders that are ready
}

func (s *shop) placeOrder(ctx context.Context, command *PlaceOrder) error {
	s.lines.Printf("counter  took the order: %s", command.Order)
	return s.events.Publish(ctx, &OrderPlaced{Order: command.Order})
}

func (s *shop) cook(ctx context.Context, event *OrderPlaced) error {
	s.lines.Printf("kitchen  made: %s", event.Order)
	return s.events.Publish(ctx, &OrderReady{Order: event.Order})
}

func (s *shop) showPlaced(_ context.Context, event *OrderPlaced) error {
	s.lines.Printf("screen   in the making: %s", event.Order)
	return nil
}

// showReady closes the shop after the last order. It counts orders, not calls, because a message
// may be delivered more than once.
func (s *shop) showReady(_ context.Context, event *OrderReady) error {
	s.lines.Printf("screen   ready: %s", event.Order)
	if s.ready == nil {
		s.ready = make(map[string]bool)
	}
	s.ready[event.Order] = true
	if len(s.ready) == s.orders {
		s.close()
	}
	return nil
}
