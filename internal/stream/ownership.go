package stream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ownership is the right of one consumer of a group to work on a stream alone. It is a lease in a hash
// beside the stream, with a generation that rises with each owner. Scripts that settle entries are
// fenced by it: see Group.Own. So an owner that was replaced while its process stood still changes
// nothing, whatever its clock says.
//
// The lease tells others when they may replace the owner, by the server's clock. If that is set back,
// they wait for one more lease at most. If it is set forward, or if the hash is lost (FLUSHALL, a
// failover to a replica that did not have it), an owner may be replaced before its lease is over. It
// learns of it by ErrNotOwner.
//
// One goroutine calls Acquire. The other methods may be called by any.
type Ownership struct {
	client        redis.UniversalClient
	key, consumer string
	lease         time.Duration

	mu         sync.Mutex
	generation int64
	since      time.Time     // when the call was sent that began or renewed the lease; zero: it is over
	over       chan struct{} // closed when the generation is over
	uncertain  bool          // the last Acquire had no reply: the server may have made this consumer the owner
}

// NewOwnership returns the ownership of a stream by a consumer, whose name no other process uses. key
// is in the slot of the stream. The lease is counted in milliseconds.
func NewOwnership(client redis.UniversalClient, key, consumer string, lease time.Duration) *Ownership {
	return &Ownership{client: client, key: key, consumer: consumer, lease: lease}
}

// OwnerState is the result of Acquire.
type OwnerState struct {
	Owner      string        // who owns the stream now
	Generation int64         // of that owner
	Acquired   bool          // this consumer is the owner from now on
	Wait       time.Duration // until the lease of another owner is over, if it is not renewed; 0 if Acquired
}

// Acquire makes this consumer the owner if nobody is, or if the owner's lease is over. If the consumer
// is the owner already, because the reply to an earlier call was lost, it begins a new generation:
// what an earlier session of it still does with the old one fails.
func (o *Ownership) Acquire(ctx context.Context) (OwnerState, error) {
	sent := time.Now()
	reply, err := acquireOwnerScript.Run(ctx, o.client, []string{o.key}, o.consumer, o.lease.Milliseconds()).Slice()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.uncertain = err != nil && (o.uncertain || !IsNotApplied(err))
	if err != nil {
		return OwnerState{}, err
	}
	if len(reply) != 3 {
		return OwnerState{}, fmt.Errorf("acquire_owner script: %d elements in its reply", len(reply))
	}
	state := OwnerState{Generation: number(reply[1]), Wait: time.Duration(number(reply[2])) * time.Millisecond}
	state.Owner, _ = reply[0].(string)
	state.Acquired = state.Owner == o.consumer
	o.generation, o.since = 0, time.Time{}
	if state.Acquired {
		o.generation, o.since, o.over = state.Generation, sent, make(chan struct{})
	}
	return state, nil
}

// Generation returns the generation that the last Acquire began; 0: none.
func (o *Ownership) Generation() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.generation
}

// Renew begins the lease anew. The error is ErrNotOwner if the consumer is not the owner any more, or
// if the hash is gone.
func (o *Ownership) Renew(ctx context.Context) error { return o.settle(ctx, keepOwner) }

// Release ends the ownership: others can acquire it at once. The error is ErrNotOwner if it was lost
// before. A Group that leaves and keeps no entries does it itself: see Group.Release. If the last
// Acquire had no reply, it is called again, to have a generation that can be released.
func (o *Ownership) Release(ctx context.Context) error {
	o.mu.Lock()
	uncertain := o.uncertain
	o.mu.Unlock()
	if uncertain {
		state, err := o.Acquire(ctx)
		if err != nil {
			return err
		}
		if !state.Acquired {
			return ErrNotOwner
		}
	}
	return o.settle(ctx, releaseOwner)
}

func (o *Ownership) settle(ctx context.Context, action ownerAction) error {
	f, sent := newFence(o), time.Now()
	err := f.run(ctx, o.client, settleOwnerScript, []string{o.key}, []any{string(action)}).Err()
	if err != nil && !wasReleased(action, err) {
		return err
	}
	f.settled(action, sent)
	return nil
}

// begin begins the lease of a generation at a time, unless it began later.
func (o *Ownership) begin(generation int64, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.generation == generation && !o.since.IsZero() && at.After(o.since) {
		o.since = at
	}
}

// end ends the lease of a generation.
func (o *Ownership) end(generation int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.generation == generation && !o.since.IsZero() {
		o.since = time.Time{}
		close(o.over)
	}
}

// Over returns a channel that is closed when the generation is known to be over: it was released, or
// the server said that another one began. Acquire must have begun one.
func (o *Ownership) Over() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over
}

// Left returns how long the lease lasts at least; 0: it may be over. It is counted from when the last
// successful Acquire or Renew was sent, by both of our clocks: the monotonic one stands still while a
// machine sleeps, and the wall clock may be set back.
func (o *Ownership) Left() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0
	}
	now := time.Now()
	passed := max(now.Sub(o.since), now.Round(0).Sub(o.since.Round(0)))
	return max(o.lease-passed, 0)
}

// Own makes the consumer the exclusive one of its group, in the present generation of the Ownership.
// From now on its acks and scripts fail with ErrNotOwner, and change nothing, once another generation
// began. It is called after Acquire and before the Group is used.
func (g *Group) Own(o *Ownership) {
	g.fence = newFence(o)
	g.retries.fence = g.fence
}

// HasForeign reports whether any other consumer of the group has pending entries. A former owner may
// still be blocked in a read on the server, and get an entry before ours. After each read with entries
// the owner asks; if there are any, it claims them, and sorts them before its own. One that was the
// last of the stream is found by a look at intervals only.
func (g *Group) HasForeign(ctx context.Context) (has bool, err error) {
	err = g.onPrivate(ctx, 0, func(ctx context.Context, c privateClient) (err error) {
		has, err = g.fence.run(ctx, c, hasForeignScript, []string{g.key}, []any{g.name, g.consumer}).Bool()
		return err
	})
	return has, err
}
