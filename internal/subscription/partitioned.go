package subscription

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/partition"
)

// PartitionedConfig is what a Partitioned needs.
type PartitionedConfig struct {
	Name       string // in the record of the group's members
	Partitions int
	Record     partition.Record
	// Candidate returns a consumer for a partition, with a new name: a read of an earlier one may
	// still be under way.
	Candidate    func(partition int) Candidate
	Lease        time.Duration // of the ownerships, and in the record
	CloseTimeout time.Duration // how long Close waits for handlers
	Paused       bool          // it starts paused
	OnEnd        func()        // called when all goroutines have ended
	Logger       watermill.LoggerAdapter
}

// Partitioned is a member of a group on a topic with partitions. It runs a subscription for each
// partition that it owns. A partition.Member decides which ones these are.
type Partitioned struct {
	PartitionedConfig
	*sessions

	member   *partition.Member
	changed  chan struct{}   // Held has changed
	stopping context.Context //nolint:containedctx // ends with the context of Subscribe, and with Close
	stop     context.CancelFunc
	ended    context.Context //nolint:containedctx // done when all goroutines have ended
	end      context.CancelFunc

	running sync.WaitGroup // the sessions
	held    sync.Mutex     // guards all below
	closed  bool           // no session begins
	current map[int]*session
}

// session is the subscription of a partition, while this member owns it.
type session struct {
	sub  *Subscription
	lost bool          // the partition is lost, and handlers may still run
	over chan struct{} // closed when the subscription has ended, and after lostPause if it was lost
}

// StartPartitioned starts a Partitioned. It ends with ctx or with Close.
func StartPartitioned(ctx context.Context, config PartitionedConfig) *Partitioned {
	p := &Partitioned{
		PartitionedConfig: config, sessions: newSessions(config.Paused),
		changed: make(chan struct{}, 1), current: make(map[int]*session),
	}
	p.ended, p.end = context.WithCancel(context.Background())
	p.stopping, p.stop = context.WithCancel(ctx)
	p.member = partition.Start(partition.Config{
		Name: p.Name, Partitions: p.Partitions, Lease: p.Lease, Record: p.Record, Runner: p, Changed: p.changed, Logger: p.Logger,
	})
	context.AfterFunc(p.stopping, p.conclude)
	return p
}

// Close ends the subscriptions, gives all partitions up and leaves the group. It returns when every
// goroutine has ended.
func (p *Partitioned) Close() {
	p.stop()
	<-p.ended.Done()
}

// Ended is done when every goroutine has ended.
func (p *Partitioned) Ended() context.Context { return p.ended }

// conclude leaves the group when the subscriptions have ended. The end of stopping ends them.
func (p *Partitioned) conclude() {
	defer p.end()
	limit, cancel := context.WithTimeout(context.Background(), p.CloseTimeout+closeGrace)
	defer cancel()
	p.member.Close(limit)
	p.held.Lock()
	p.closed = true
	p.held.Unlock()
	p.running.Wait()
	p.leave()
	p.OnEnd()
}

// Held returns the partitions that this member owns. It belongs to partition.Runner, as Stop and
// Acquire do.
func (p *Partitioned) Held() []int {
	p.held.Lock()
	defer p.held.Unlock()
	held := make([]int, 0, len(p.current))
	for i, session := range p.current {
		if !session.lost {
			held = append(held, i)
		}
	}
	return held
}

// Stop lets the handlers that are running finish.
func (p *Partitioned) Stop(i int) {
	p.held.Lock()
	defer p.held.Unlock()
	if session := p.current[i]; session != nil {
		session.sub.Drain()
	}
}

// Acquire starts the subscription of a partition if nobody owns it. It first waits for the end of an
// earlier session that lost the partition.
func (p *Partitioned) Acquire(ctx context.Context, i int) (wait time.Duration, err error) {
	owned, over := p.session(i)
	if owned {
		return 0, nil
	}
	select {
	case <-over:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	candidate := p.Candidate(i)
	state, err := candidate.Ownership.Acquire(ctx)
	if err == nil && !state.Acquired {
		candidate.Discard()
		return max(state.Wait, time.Millisecond), nil
	}
	var config Config
	if err == nil {
		config, err = candidate.Join(ctx, state.Generation)
	}
	if err == nil && p.start(i, candidate.Ownership, config) {
		config.Logger.Info("this consumer owns the partition now", watermill.LogFields{"generation": state.Generation})
		return 0, nil
	}
	candidate.Discard()
	giveUp(ctx, candidate.Ownership)
	if err == nil {
		err = errEnded
	}
	return 0, err
}

var errEnded = errors.New("the subscription has ended")

// session reports whether the partition is owned. Otherwise the channel is closed when its last
// session is over. Only Acquire begins another one.
func (p *Partitioned) session(i int) (owned bool, over <-chan struct{}) {
	p.held.Lock()
	defer p.held.Unlock()
	if s := p.current[i]; s != nil {
		return !s.lost, s.over
	}
	none := make(chan struct{})
	close(none)
	return false, none
}

// start starts a session, unless the end has begun.
func (p *Partitioned) start(i int, ownership Ownership, config Config) bool {
	p.held.Lock()
	defer p.held.Unlock()
	if p.closed || hasEnded(p.stopping) {
		return false
	}
	s := &session{sub: p.begin(p.stopping, config), over: make(chan struct{})}
	p.current[i] = s
	lease := newStreamLease(s.sub, ownership, p.Lease, func() {
		p.held.Lock()
		defer p.held.Unlock()
		s.lost = true
		p.tell()
	})
	p.running.Go(func() {
		if lease.hold(context.WithoutCancel(p.stopping)) {
			sleep(p.stopping, lostPause)
		}
		p.held.Lock()
		defer p.held.Unlock()
		delete(p.current, i)
		close(s.over)
		p.tell()
	})
	return true
}

// tell wakes the member: what Held returns has changed.
func (p *Partitioned) tell() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}
