package subscription

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
)

// sessions are subscriptions that begin and end while one output and one local pause go on.
type sessions struct {
	output chan *message.Message
	users  atomic.Int32 // what may still send to the output: the owner of this, and subscriptions

	mu     sync.Mutex // guards paused, and that the active subscriptions follow it
	paused bool
	active map[*Subscription]struct{}
}

func newSessions(paused bool) *sessions {
	s := &sessions{output: make(chan *message.Message), paused: paused, active: make(map[*Subscription]struct{})}
	s.users.Store(1)
	return s
}

// Output returns the channel of the messages. It is closed when nothing is sent to it any more.
func (s *sessions) Output() <-chan *message.Message { return s.output }

// SetPaused pauses the subscriptions, also those that are yet to start.
func (s *sessions) SetPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
	for sub := range s.active {
		sub.SetPaused(paused)
	}
}

// begin starts a subscription. It must not be called after the owner has left.
func (s *sessions) begin(ctx context.Context, config Config) *Subscription {
	s.users.Add(1)
	onEnd := config.OnEnd
	config.Output = s.output
	config.OnEnd = func() {
		onEnd()
		s.leave()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	config.Paused = s.paused
	sub := Start(ctx, config)
	s.active[sub] = struct{}{}
	context.AfterFunc(sub.Ended(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.active, sub)
	})
	return sub
}

// leave closes the output when nothing sends to it any more.
func (s *sessions) leave() {
	if s.users.Add(-1) == 0 {
		close(s.output)
	}
}
