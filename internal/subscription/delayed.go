package subscription

import (
	"context"
	"time"
)

// Delayed moves the delayed messages of the topic when they are due: a *delayed.Mover, or NoDelayed.
type Delayed interface {
	// Arm makes it move what is due after the given time.
	Arm(wait time.Duration)
	// Close returns when it does not run any more.
	Close()
}

// NoDelayed moves nothing: others do.
type NoDelayed struct{}

// Arm implements Delayed.
func (NoDelayed) Arm(time.Duration) {}

// Close implements Delayed.
func (NoDelayed) Close() {}

// lookForDelayed is the periodic task of a fan-out, which has no other look at its stream.
func (f *fanout) lookForDelayed(ctx context.Context) error {
	there, err := f.AnyDelayed(ctx)
	if there {
		f.Delayed.Arm(0)
	}
	return err
}
