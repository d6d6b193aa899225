package subscription

import "context"

// Together are subscriptions with one output, such as a fan-out of a topic with partitions.
type Together struct {
	*sessions

	stop  context.CancelFunc
	ended context.Context //nolint:containedctx // done when all subscriptions have ended
}

// StartTogether starts subscriptions. They end with ctx or with Close.
func StartTogether(ctx context.Context, configs []Config, paused bool) *Together {
	t := &Together{sessions: newSessions(paused)}
	ended, end := context.WithCancel(context.Background())
	t.ended = ended
	stopping, stop := context.WithCancel(ctx)
	t.stop = stop
	subs := make([]*Subscription, len(configs))
	for i, config := range configs {
		subs[i] = t.begin(stopping, config)
	}
	context.AfterFunc(stopping, func() {
		defer end()
		for _, sub := range subs {
			<-sub.Ended().Done()
		}
		t.leave()
	})
	return t
}

// Close ends the subscriptions. It returns when every goroutine has ended.
func (t *Together) Close() {
	t.stop()
	<-t.ended.Done()
}

// Ended is done when every goroutine has ended.
func (t *Together) Ended() context.Context { return t.ended }
