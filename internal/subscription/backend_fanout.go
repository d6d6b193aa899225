package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Fanout is the Backend without a consumer group: every subscription gets every entry.
type Fanout struct {
	Stream Stream // a *stream.Fanout

	Delayed       Delayed
	AnyDelayed    func(context.Context) (bool, error)
	ClaimInterval time.Duration // how often AnyDelayed is called; 0: never
}

// fanout is the Fanout of a running subscription.
type fanout struct {
	Fanout
	unacknowledged
	noReports

	blockTime time.Duration
}

func (f Fanout) attach(s *Subscription) backend {
	return &fanout{Fanout: f, unacknowledged: newUnacknowledged(s), blockTime: s.BlockTime}
}

func (f *fanout) next(ctx context.Context, room room) ([]stream.Entry, error) {
	if room.entries == 0 {
		return nil, nil
	}
	return f.Stream.Read(ctx, room.limit(), f.blockTime)
}

func (f *fanout) recover(ctx context.Context, err error) error {
	f.Stream.Reset(ctx)
	return err
}

func (f *fanout) transferTime() time.Duration  { return f.Stream.TransferTime() }
func (*fanout) untilCheckpoint() time.Duration { return time.Hour }
func (f *fanout) interrupt()                   { f.Stream.Interrupt() }
func (*fanout) release(context.Context)        {}

// A paused fan-out keeps the entries that it read.

func (*fanout) handBack(context.Context) error   { return nil }
func (*fanout) watchPause(context.Context) error { return nil }
func (*fanout) untilLook() time.Duration         { return time.Hour }
func (*fanout) resume()                          {}

func (f *fanout) close() {
	f.Stream.Close()
	f.Delayed.Close()
}

func (f *fanout) tasks() []periodicTask {
	if f.ClaimInterval == 0 {
		return nil
	}
	task := periodicTask{"looking for delayed messages", f.ClaimInterval, f.lookForDelayed}
	return []periodicTask{task}
}
