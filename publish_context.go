package redisstream

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// contextWatch waits for the first end of several contexts: those of the messages of a call.
type contextWatch struct {
	contexts    []context.Context
	cancelled   <-chan struct{} // closed when one ends; nil: none can end
	hasDeadline bool            // one has a deadline
	stops       []func() bool
}

func watchContexts(messages []*message.Message) (w contextWatch) {
	var last <-chan struct{} // contexts may not be comparable
	for _, msg := range messages {
		ctx := msg.Context()
		if done := ctx.Done(); done != nil && done != last {
			w.contexts, last = append(w.contexts, ctx), done
			_, deadline := ctx.Deadline()
			w.hasDeadline = w.hasDeadline || deadline
		}
	}
	if len(w.contexts) == 0 {
		return w
	}
	cancelled := make(chan struct{})
	cancel := sync.OnceFunc(func() { close(cancelled) })
	for _, ctx := range w.contexts {
		w.stops = append(w.stops, context.AfterFunc(ctx, cancel))
	}
	w.cancelled = cancelled
	return w
}

// err returns why one of the contexts ended; nil: none has.
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
