package subscription

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeGroup is a consumer group in memory. testing/synctest controls its time, which is impossible
// with a real server. It shows which commands the subscription sends, and when. Tests with real
// servers show that the commands work.
type fakeGroup struct {
	mu       sync.Mutex
	arrived  sync.Cond
	entries  []stream.Entry // not handed out yet
	pending  map[string]bool
	fail     error // of every command
	stopped  bool
	reads    []int // counts asked for
	holds    []int // leases in each renewal
	heldAt   []time.Duration
	acks     []int
	lost     map[string]bool
	released map[string]int64
	releases int
	kept     []string
	takeBack bool
	began    time.Time
	foreign  []stream.PendingEntry
	own      []stream.PendingEntry // claimed in replies that were lost
	loses    func() bool           // whether the reply to a claim is lost
	claims   int
	failAcks int
	fails    int

	postponed []stream.Postponement
	inQueue   bool // the retry queue has entries
	record    stream.MemberRecord
	reports   int
	paused    bool
	returns   bool            // what is released can be claimed
	looks     int             // of their own
	looksAt   []time.Duration // at the group's state
	members   int64           // consumers of the group
	left      bool            // a release deleted the record

	failReports error
	failForeign error

	postpone    func() (stream.PostponeResult, error)
	takeRetries func() ([]stream.Entry, time.Duration, error)
	recreate    func() (string, error)
	deadLetter  func() (stream.DeadLetterResult, error)
	removeIdle  func() error
	commit      func() (stream.CommitResult, error)
	atRelease   func()
	atReport    func(context.Context)
}

func newFakeGroup(n int) *fakeGroup {
	g := &fakeGroup{
		pending: map[string]bool{}, lost: map[string]bool{}, released: map[string]int64{}, began: time.Now(),
		postpone:   func() (stream.PostponeResult, error) { return stream.Postponed, nil },
		recreate:   func() (string, error) { return "", nil },
		deadLetter: func() (stream.DeadLetterResult, error) { return stream.DeadLetterMoved, nil },
		removeIdle: func() error { return nil },
		atRelease:  func() {},
		atReport:   func(context.Context) {},
		loses:      func() bool { return false },
	}
	g.arrived.L = &g.mu
	g.add(n)
	return g
}

func (g *fakeGroup) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range n {
		id := fmt.Sprintf("%d-0", len(g.entries)+len(g.pending)+1)
		g.entries = append(g.entries, stream.Entry{ID: id, Fields: stream.NewFields("data", id), Deliveries: 1, Counted: 1})
	}
	g.arrived.Broadcast()
}

func (g *fakeGroup) locked(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

var errDown = errors.New("server is down")

func (g *fakeGroup) Read(_ context.Context, limit stream.Limit, block time.Duration) ([]stream.Entry, error) {
	count := limit.Count
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reads = append(g.reads, count)
	if g.fail != nil {
		g.fails++
		return nil, g.fail
	}
	timedOut := false
	timer := time.AfterFunc(block, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		timedOut = true
		g.arrived.Broadcast()
	})
	defer timer.Stop()
	for len(g.entries) == 0 && !g.stopped && !timedOut {
		g.arrived.Wait()
	}
	if g.stopped {
		return nil, errDown
	}
	n := min(count, len(g.entries))
	handed := append([]stream.Entry(nil), g.entries[:n]...)
	g.entries = g.entries[n:]
	for _, e := range handed {
		g.pending[e.ID] = true
	}
	return handed, nil
}

func (g *fakeGroup) ReadAndLook(ctx context.Context, limit stream.Limit, block time.Duration) ([]stream.Entry, bool, error) {
	entries, err := g.Read(ctx, limit, block)
	g.mu.Lock()
	defer g.mu.Unlock()
	return entries, g.paused, err
}

func (g *fakeGroup) Reset(context.Context)       {}
func (g *fakeGroup) TransferTime() time.Duration { return 0 }
func (g *fakeGroup) Close()                      {}
func (g *fakeGroup) Interrupt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	g.arrived.Broadcast()
}

func (g *fakeGroup) Info(context.Context) (stream.Info, error) { return stream.Info{}, nil }

func (g *fakeGroup) GroupInfo(context.Context) (stream.GroupInfo, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		g.fails++
	}
	g.looksAt = append(g.looksAt, time.Since(g.began))
	info := stream.GroupInfo{Consumers: g.members, Pending: int64(len(g.foreign) + len(g.own)), Retries: g.inQueue, Paused: g.paused}
	if g.inQueue || g.members > 0 {
		info.LastDelivered = "0-1" // there is a checkpoint: the reader looks at intervals only
	}
	return info, g.fail
}

func (g *fakeGroup) Pending(_ context.Context, page stream.Page) ([]stream.PendingEntry, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		g.fails++
	}
	var rows []stream.PendingEntry
	list := g.foreign
	if page.Own {
		list = g.own
	}
	for _, row := range list {
		if (page.From == "-" || row.ID >= page.From) && len(rows) < page.Count {
			rows = append(rows, row)
		}
	}
	return rows, g.fail
}

func (g *fakeGroup) Claim(_ context.Context, claim stream.Claim) (claimed stream.Claimed, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.claims++
	for _, row := range claim.Rows {
		if len(claimed.Entries) == claim.Limit.Count {
			break
		}
		claimed.Tried++
		claimed.Entries = append(claimed.Entries, stream.Entry{
			ID: row.ID, Fields: stream.NewFields("data", row.ID), Deliveries: row.Deliveries + 1, Counted: row.Deliveries, Claimed: true,
		})
		isRow := func(other stream.PendingEntry) bool { return other.ID == row.ID }
		g.foreign, g.own = slices.DeleteFunc(g.foreign, isRow), slices.DeleteFunc(g.own, isRow)
	}
	if g.loses() {
		g.own = append(g.own, claim.Rows[:claimed.Tried]...)
		return stream.Claimed{}, errDown
	}
	return claimed, g.fail
}

func (g *fakeGroup) RenewLeases(_ context.Context, leases []stream.Lease) (lost, trimmed []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds = append(g.holds, len(leases))
	g.heldAt = append(g.heldAt, time.Since(g.began))
	for _, l := range leases {
		if g.lost[l.ID] {
			lost = append(lost, l.ID)
		}
	}
	return lost, nil, g.fail
}

func (g *fakeGroup) Commit(context.Context, string, *stream.Transaction, bool) (stream.CommitResult, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.commit()
}

func (g *fakeGroup) Ack(_ context.Context, ids []string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failAcks > 0 {
		g.failAcks--
		return errDown
	}
	g.acks = append(g.acks, len(ids))
	for _, id := range ids {
		delete(g.pending, id)
	}
	return nil
}

func (g *fakeGroup) Release(_ context.Context, release stream.Release) ([]string, error) {
	g.atRelease()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.releases++
	for _, l := range release.Leases {
		g.released[l.ID] = l.Deliveries
	}
	if g.fail != nil {
		return nil, g.fail
	}
	if g.returns {
		g.giveBack(release)
	}
	g.kept, g.takeBack, g.left = release.Keep, release.TakeBack, release.Leaves
	return nil, nil
}

// giveBack makes entries that are released ones that can be claimed. IDs are compared as strings.
func (g *fakeGroup) giveBack(release stream.Release) {
	counts := map[string]int64{}
	for _, l := range release.Leases {
		counts[l.ID] = l.Deliveries
	}
	for id := range g.pending {
		count, listed := counts[id]
		known := slices.ContainsFunc(g.foreign, func(row stream.PendingEntry) bool { return row.ID == id })
		if !known && !slices.Contains(release.Keep, id) && (listed || release.TakeBack) {
			g.foreign = append(g.foreign, stream.PendingEntry{ID: id, Consumer: "me", Idle: 50 * 365 * 24 * time.Hour, Deliveries: count})
		}
	}
	slices.SortFunc(g.foreign, func(a, b stream.PendingEntry) int { return strings.Compare(a.ID, b.ID) })
}

func (g *fakeGroup) Postpone(_ context.Context, entries []stream.Postponement) ([]stream.PostponeResult, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	results := make([]stream.PostponeResult, len(entries))
	for i, e := range entries {
		var err error
		if results[i], err = g.postpone(); err != nil {
			return nil, err
		}
		if results[i] == stream.Postponed {
			g.postponed = append(g.postponed, e)
			delete(g.pending, e.ID)
		}
	}
	return results, nil
}

func (g *fakeGroup) TakeRetries(context.Context, stream.Limit) ([]stream.Entry, time.Duration, error) {
	return g.takeRetries()
}

func (g *fakeGroup) acked() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, count := range g.acks {
		n += count
	}
	return n
}

// Join, Recreate, DeadLetter, RemoveIdle and Trim do nothing, unless a test sets a function.

func (g *fakeGroup) Join(context.Context, string) error {
	_, err := g.recreate()
	return err
}

func (g *fakeGroup) Recreate(context.Context, stream.Checkpoint) (string, error) { return g.recreate() }

func (g *fakeGroup) DeadLetter(context.Context, string, stream.DeadLetterTarget, []any) (stream.DeadLetterResult, error) {
	return g.deadLetter()
}

func (g *fakeGroup) RemoveIdle(context.Context, []string, time.Duration) ([]string, error) {
	return nil, g.removeIdle()
}

func (g *fakeGroup) Trim(context.Context, time.Duration, int64) (int64, error) { return 0, nil }

func (g *fakeGroup) IsPaused(context.Context) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looks++
	return g.paused, g.fail
}

func (g *fakeGroup) Report(ctx context.Context, record stream.MemberRecord) error {
	g.atReport(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.record = record
	g.reports++
	return g.failReports
}

// options are the configurations of the subscription and of its group, which a test changes.
type options struct {
	Config
	Group
}

const (
	minIdle  = 30 * time.Second
	interval = 1500 * time.Millisecond
)

// start starts a subscription to the group with one worker, changed by change.
func (g *fakeGroup) start(t *testing.T, change func(*options)) (*Subscription, *redistest.Log) {
	t.Helper()
	o, log := g.options()
	if change != nil {
		change(&o)
	}
	if o.Backend == nil {
		o.Backend = o.Group
	}
	return Start(t.Context(), o.Config), log
}

func (g *fakeGroup) options() (options, *redistest.Log) {
	log := &redistest.Log{}
	return options{
		Config: Config{
			Decode: func(e stream.Entry) (*message.Message, error) {
				return message.NewMessage(e.ID, nil), nil
			},
			Context:      func(parent Delivery, _ string, _ int64) context.Context { return parent },
			Decision:     func(context.Context) Decision { return Decision{} },
			Workers:      1,
			Backoff:      func(int) time.Duration { return 0 },
			BlockTime:    5 * time.Second,
			CloseTimeout: 10 * time.Second,
			LateTimeout:  30 * time.Second,
			OnEnd:        func() {},
			Logger:       log.Logger(),
		},
		Group: Group{
			Membership:  Membership{Stream: g, Consumer: "me", Delayed: NoDelayed{}, ClaimMinIdle: minIdle, ClaimInterval: interval},
			DeadLetters: Skip{},
		},
	}, log
}

// toDeadLetters returns a DeadLetters that adds no fields.
func toDeadLetters() DeadLetters {
	return DeadLetterStream{Fields: func(DeadLetter) []any { return nil }}
}

// work handles n messages, each for d.
func work(messages <-chan *message.Message, n int, d time.Duration) {
	for range n {
		msg := <-messages
		time.Sleep(d)
		msg.Ack()
	}
}

func (s *Subscription) waiting() int {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	return len(s.inbox.table.entries) - s.inbox.working
}

// serverError is an error of the server.
type serverError string

func (e serverError) Error() string { return string(e) }

func (serverError) RedisError() {}

func (g *fakeGroup) foreignRows(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range n {
		g.foreign = append(g.foreign, stream.PendingEntry{ID: fmt.Sprintf("%d-0", 1_000_000+i), Consumer: "other", Deliveries: 1})
	}
}
