package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/backoff"
	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
)

const (
	// standByLook is how often a consumer that stands by looks whether it can become the active one.
	standByLook = 500 * time.Millisecond
	// lostPause is how long a consumer stands by after it lost the stream. Its last read is over on the
	// server then, because no read blocks beyond the next look for a pause.
	lostPause = pauseLook + pauseGrace
)

// Ownership is the right of one consumer to work on a stream for its group: a *stream.Ownership.
type Ownership interface {
	// Acquire makes the consumer the owner, if nobody is.
	Acquire(ctx context.Context) (stream.OwnerState, error)
	// Renew renews the lease.
	Renew(ctx context.Context) error
	// Release gives the ownership up.
	Release(ctx context.Context) error
	// Left is how much is left of the lease, by our clock.
	Left() time.Duration
	// Over is closed when the server said that another consumer is the owner, or after a release.
	Over() <-chan struct{}
}

// Candidate is a consumer that may become the active one.
type Candidate struct {
	Ownership Ownership
	// Join makes the consumer known to the group, and returns the configuration of its
	// subscription. Its Backend is an ExclusiveGroup.
	Join func(ctx context.Context, generation int64) (Config, error)
	// Discard ends a candidate that was not joined.
	Discard func()
}

// ExclusiveConfig is what an Exclusive needs.
type ExclusiveConfig struct {
	// Candidate returns a consumer with a new name: a read of an earlier one may still be under way.
	Candidate func() Candidate
	Lease     time.Duration // of the ownership
	Paused    bool          // it starts paused
	Logger    watermill.LoggerAdapter
}

// Exclusive is a member of a group in which one consumer at a time is active. It stands by until it
// owns the stream. Then it runs a subscription, until that ends or the ownership is lost.
type Exclusive struct {
	ExclusiveConfig
	*sessions // one at a time

	joining outage.Outage
	stop    context.CancelFunc
	ended   context.Context //nolint:containedctx // done when all goroutines have ended
	end     context.CancelFunc
}

// StartExclusive starts an Exclusive. It ends with ctx or with Close.
func StartExclusive(ctx context.Context, config ExclusiveConfig) *Exclusive {
	e := &Exclusive{
		ExclusiveConfig: config, sessions: newSessions(config.Paused),
		joining: outage.Outage{What: "joining the group as its active consumer", Logger: config.Logger},
	}
	e.ended, e.end = context.WithCancel(context.Background())
	stopping, stop := context.WithCancel(ctx)
	e.stop = stop
	go e.run(stopping)
	return e
}

// Close ends the subscription and gives the stream up. It returns when every goroutine has ended.
func (e *Exclusive) Close() {
	e.stop()
	<-e.ended.Done()
}

// Ended is done when every goroutine has ended.
func (e *Exclusive) Ended() context.Context { return e.ended }

func (e *Exclusive) run(ctx context.Context) {
	defer e.end()
	defer e.leave()
	defer e.stop()
	for pause := time.Duration(0); !hasEnded(ctx) && sleep(ctx, pause); {
		candidate := e.Candidate()
		generation, acquired := e.standBy(ctx, candidate.Ownership)
		if !acquired {
			candidate.Discard()
			return
		}
		pause = e.work(ctx, candidate, generation)
	}
}

// standBy waits until the candidate owns the stream. It reports false when ctx has ended.
func (e *Exclusive) standBy(ctx context.Context, o Ownership) (generation int64, acquired bool) {
	trouble := outage.Outage{What: "looking for the active consumer of the group", Logger: e.Logger}
	stands := false
	for {
		state, err := o.Acquire(ctx)
		wait := min(backoff.Jitter(standByLook, 0.25), state.Wait)
		switch {
		case err == nil:
			trouble.Over()
			if state.Acquired {
				return state.Generation, true
			}
			if !stands {
				stands = true
				e.Logger.Info("another consumer of the group is the active one; this subscription stands by",
					watermill.LogFields{"active": state.Owner, "generation": state.Generation})
			}
		case !hasEnded(ctx):
			wait = trouble.Failed(err)
		}
		if !sleep(ctx, max(wait, time.Millisecond)) {
			if err != nil { // a reply may have been lost
				giveUp(ctx, o)
			}
			return 0, false
		}
	}
}

// giveUp releases the ownership for the next consumer. If that fails, the lease has to end first.
func giveUp(ctx context.Context, o Ownership) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackGrace)
	defer cancel()
	join(limit, func() { _ = o.Release(limit) })
}

// work runs a subscription as the active consumer. It returns how long to wait before the next try
// to become the active one.
func (e *Exclusive) work(ctx context.Context, candidate Candidate, generation int64) time.Duration {
	config, err := candidate.Join(ctx, generation)
	if err != nil {
		candidate.Discard()
		giveUp(ctx, candidate.Ownership)
		if !hasEnded(ctx) {
			e.joining.Failed(err)
		}
		return outage.LongestPause // others may do better
	}
	e.joining.Over()
	config.Logger.Info("this consumer is the active one of the group now", watermill.LogFields{"generation": generation})
	lease := newStreamLease(e.begin(ctx, config), candidate.Ownership, e.Lease, func() {})
	if lease.hold(context.WithoutCancel(ctx)) {
		return lostPause
	}
	return 0
}
