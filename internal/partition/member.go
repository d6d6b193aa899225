package partition

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

// Record is the record of a group's members. stream.PartitionMembers is one.
type Record interface {
	Version(ctx context.Context) (int64, error)
	Beat(ctx context.Context, beat stream.Beat) (stream.BeatReply, error)
	Leave(ctx context.Context, name string) error
}

// Runner runs the partitions that a member owns.
type Runner interface {
	// Acquire tries once to become the owner of a partition, and begins to run it then. It returns 0 if
	// this member owns it now, also if it did before. Else it returns how much is left of the owner's
	// lease. It is called for several partitions at a time. It begins to run nothing after the end of
	// ctx.
	Acquire(ctx context.Context, partition int) (wait time.Duration, err error)
	// Stop begins to give a partition up: its running messages are settled, then its ownership is
	// released. It returns at once. It is called at most once for each ownership.
	Stop(partition int)
	// Held returns the partitions that this member owns, in any order. A partition that is given up
	// is among them until it is released. One that was lost is not.
	Held() []int
}

// Config is what a member works with.
type Config struct {
	Name       string // of the consumer; unique in the group
	Partitions int
	Lease      time.Duration // of the record. Others remove a member whose lease is over.
	Record     Record
	Runner     Runner
	// Changed receives a value when what Held returns has changed by itself: a partition was
	// released, or lost. It needs a buffer of one value; who sends does not wait.
	Changed <-chan struct{}
	Logger  watermill.LoggerAdapter
}

// jitter shortens a pause after failures. The pauses of two members differ. Those of a member are
// the same in each run of a simulation.
func (c Config) jitter(pause time.Duration, failures int) time.Duration {
	return pause - time.Duration(int64(hashOf(c.Name+strconv.Itoa(failures)))%int64(pause/2))
}

const (
	// longestPause bounds the pauses between tries. It is short, because all members have to be back
	// in the record soon after an outage.
	longestPause = 500 * time.Millisecond
	// lookEvery is how often a member looks for changes of the record. So the next owner of a
	// partition knows at most that long after its release.
	lookEvery = 250 * time.Millisecond
	// awaitEvery is the same for a member that is to take a partition which another one gives up.
	awaitEvery = 100 * time.Millisecond
	// settle is how long a new record must exist before members take partitions by it: those that
	// were in the record before have written themselves again then.
	settle = longestPause + lookEvery
	// giveAfter is how long the same members must be there before partitions are given up to others,
	// so that a restart, or many members that start together, move each partition once. giveLatest
	// is when they are given up in any case.
	giveAfter  = time.Second
	giveLatest = 5 * time.Second
	// spread is how far members that wait for the same moment are apart.
	spread = 100 * time.Millisecond
	// retryAfter is added to what is left of an owner's lease.
	retryAfter = 5 * time.Millisecond
	// maxTries is how many partitions a member tries to acquire at the same time.
	maxTries = 32
)

// Member is one member of a consumer group on a partitioned topic. One goroutine has all its state.
// Calls of the server run in goroutines of their own, so that one that hangs holds up nothing else.
type Member struct {
	Config

	ctx     context.Context //nolint:containedctx // ends with Close
	cancel  context.CancelFunc
	leave   chan struct{}
	once    sync.Once
	done    chan struct{}
	running sync.WaitGroup // calls of the server

	holdings holdings
	tries    tries
	view     view
	decided  decision
	answers  chan answer
	calling  bool
	leaving  bool
	left     bool
}

// Start starts a member. The caller calls Close.
func Start(config Config) *Member {
	m := &Member{
		Config: config, leave: make(chan struct{}), done: make(chan struct{}), answers: make(chan answer, 1),
		holdings: newHoldings(config.Partitions), view: newView(config), tries: newTries(config),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	go m.run()
	return m
}

// Close gives all partitions up, and leaves the group when they are released. When ctx ends first, it
// returns at once: others take over what is left when its lease is over.
func (m *Member) Close(ctx context.Context) {
	m.once.Do(func() { close(m.leave) })
	select {
	case <-m.done:
		m.running.Wait() // for nothing: all have answered
	case <-ctx.Done():
	}
	m.cancel()
	<-m.done
}

func (m *Member) run() {
	defer close(m.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	leave := m.leave
	for !m.left {
		wake := m.step(time.Now())
		timer.Reset(time.Until(wake))
		select {
		case <-timer.C:
		case <-m.Changed:
		case answer := <-m.answers:
			m.answered(time.Now(), answer)
		case result := <-m.tries.results:
			m.tried(time.Now(), result)
		case <-leave:
			m.leaving, leave = true, nil
		case <-m.ctx.Done():
			return
		}
	}
}

// step does what is due, and returns when to do so again.
func (m *Member) step(now time.Time) (wake time.Time) {
	m.holdings.update(now, m.Lease, m.Runner.Held())
	wake = now.Add(m.Lease)
	sooner := func(at time.Time) {
		if at.Before(wake) {
			wake = at
		}
	}
	give, take := m.decide()
	switch {
	case m.leaving || m.view.mayGive(now):
		m.give(give)
	case len(give) > 0 && now.Before(m.view.giveAt): // else the next answer of the server wakes the loop
		sooner(m.view.giveAt)
	}
	if at := m.view.takeAt; now.Before(at) {
		if len(take) > 0 {
			sooner(at)
		}
		take = nil
	}
	if !m.leaving {
		take = m.holdings.withLost(take)
	}
	sooner(m.tries.want(now, take, m.try))
	if !m.calling {
		sooner(m.call(now))
	}
	return wake
}

// self is what this member says of itself.
func (m *Member) self() peer { return m.holdings.peer(m.Name, m.leaving) }

// decide returns which partitions to give up, and which to take.
func (m *Member) decide() (give, take []int) {
	switch {
	case m.leaving:
		return m.holdings.kept(), nil
	case m.view.version == 0:
		return nil, nil
	}
	self := m.self()
	if of := (inputs{m.view.version, self.text()}); of != m.decided.of {
		m.decided.of = of
		m.decided.give, m.decided.take, m.view.awaits = assign(m.Partitions, m.view.with(self), m.Name)
	}
	return m.decided.give, m.decided.take
}

// inputs is what an assignment was made of.
type inputs struct {
	version int64
	self    string
}

type decision struct {
	of         inputs
	give, take []int
}

func (m *Member) give(partitions []int) {
	for _, p := range partitions {
		if m.holdings.give(p) {
			m.Runner.Stop(p)
		}
	}
}

// try tries to acquire a partition, and tells the result later.
func (m *Member) try(partition int) {
	m.running.Go(func() {
		wait, err := m.Runner.Acquire(m.ctx, partition)
		m.tries.results <- try{partition: partition, wait: wait, err: err}
	})
}

func (m *Member) tried(now time.Time, t try) {
	m.tries.answered(now, t)
	if t.err == nil && t.wait > 0 {
		m.holdings.isAnothers(t.partition)
	}
}

// answer is the answer of the server to a call for the record.
type answer struct {
	kind    callKind
	sent    time.Time
	text    string // what a beat said
	version int64
	reply   stream.BeatReply
	err     error
}

type callKind int

const (
	callLook callKind = iota
	callBeat
	callLeave
)

// call sends a call for the record if one is due, and returns when the next one is.
func (m *Member) call(now time.Time) (next time.Time) {
	self := m.self()
	text, known := self.text(), m.view.version
	var kind callKind
	switch {
	case m.leaving && m.holdings.none() && m.tries.none():
		kind = callLeave
	case m.view.needsBeat(now, text):
		kind = callBeat
	}
	if at := m.view.callAt(kind, text); now.Before(at) {
		return at
	}
	m.calling = true
	m.running.Go(func() {
		a := answer{kind: kind, sent: now, text: text}
		switch kind {
		case callLook:
			a.version, a.err = m.Record.Version(m.ctx)
		case callBeat:
			a.reply, a.err = m.Record.Beat(m.ctx, stream.Beat{Name: m.Name, State: text, Lease: m.Lease, Known: known})
		case callLeave:
			a.err = m.Record.Leave(m.ctx, m.Name)
		}
		m.answers <- a
	})
	return now.Add(m.Lease) // the answer wakes the loop
}

func (m *Member) answered(now time.Time, a answer) {
	m.calling = false
	switch {
	case a.err != nil:
		m.view.failed(now, a.err)
	case a.kind == callLeave:
		m.left = true
	case a.kind == callBeat:
		m.view.apply(now, a)
	default:
		m.view.looked(now, a.version)
	}
}
