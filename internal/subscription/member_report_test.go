package subscription

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reporting makes the subscription write member records each second.
func reporting(o *options) {
	o.Record = &stream.MemberRecord{Host: "h", PID: 7, Every: time.Second, Workers: o.Workers}
}

func (g *fakeGroup) lastRecord() (record stream.MemberRecord, reports int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.record, g.reports
}

func TestMemberRecord_whatHandlersHave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(40)
		s, _ := g.start(t, func(o *options) {
			o.Workers = 12
			reporting(o)
		})
		var received []string // workers offer in any order
		for range 12 {
			received = append(received, (<-s.Output()).UUID)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		record, reports := g.lastRecord()
		assert.Equal(t, 11, reports, "one at the start, then one each second")
		assert.Equal(t, "h", record.Host)
		assert.Equal(t, 7, record.PID)
		assert.Equal(t, 12, record.InFlight)
		require.Len(t, record.Held, 10)
		for i, held := range record.Held {
			assert.Equal(t, received[i], held.ID, "the longest first")
			assert.EqualValues(t, 1, held.Deliveries)
			assert.Equal(t, 10*time.Second-time.Duration(i)*10*time.Millisecond, held.For)
		}
		assert.Empty(t, record.Failing)
		assert.False(t, record.Blocking)
		s.Close()
		assert.True(t, g.left)
	})
}

func TestMemberRecord_failingEntryBlocks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*options){
		"strict order": func(*options) {},
		"a key":        func(o *options) { o.Key = func(*message.Message) string { return "key" } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newFakeGroup(5)
				s, _ := g.start(t, func(o *options) {
					change(o)
					reporting(o)
					o.Backoff = func(int) time.Duration { return 3 * time.Second }
				})
				(<-s.Output()).Nack()
				time.Sleep(3 * time.Second)
				msg := <-s.Output()
				time.Sleep(1500 * time.Millisecond)
				record, _ := g.lastRecord()
				assert.Empty(t, record.Failing)
				require.Len(t, record.Held, 1)
				assert.EqualValues(t, 2, record.Held[0].Deliveries)
				assert.Equal(t, time.Second, record.Held[0].For)
				assert.Equal(t, name == "strict order", record.Blocking)
				msg.Nack()
				time.Sleep(1200 * time.Millisecond)
				record, _ = g.lastRecord()
				assert.Empty(t, record.Held)
				require.Len(t, record.Failing, 1)
				assert.Equal(t, stream.HeldEntry{ID: "1-0", For: 5 * time.Second, Deliveries: 2}, record.Failing[0], "since its first nack")
				assert.Equal(t, name == "strict order", record.Blocking)
				s.Close()
			})
		})
	}
}

// A member that has nothing to do writes a third of the records, and says so. It is as punctual as
// ever when that changes.
func TestMemberRecord_idleMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		s, _ := g.start(t, reporting)
		time.Sleep(30500 * time.Millisecond)
		record, reports := g.lastRecord()
		assert.Equal(t, 11, reports)
		assert.Equal(t, 3*time.Second, record.Every)
		g.add(1)
		msg := <-s.Output()
		time.Sleep(time.Second)
		record, reports = g.lastRecord()
		assert.Equal(t, 12, reports)
		assert.Len(t, record.Held, 1)
		assert.Equal(t, time.Second, record.Every)
		msg.Ack()
		time.Sleep(time.Second)
		record, reports = g.lastRecord()
		assert.Equal(t, 13, reports, "what it had is gone")
		assert.Empty(t, record.Held)
		s.SetPaused(true)
		time.Sleep(time.Second)
		record, _ = g.lastRecord()
		assert.True(t, record.Paused)
		s.Close()
	})
}

func TestMemberRecord_failuresAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		g.failReports = errDown
		s, log := g.start(t, reporting)
		time.Sleep(5500 * time.Millisecond)
		g.locked(func() { g.failReports = nil })
		time.Sleep(2 * time.Second)
		s.Close()
		assert.Equal(t, 1, log.Count("writing the member record failed; retrying"))
		assert.Equal(t, 1, log.Count("writing the member record works again"))
	})
}

// The server does not answer a report. Leases are renewed in time all the same.
func TestMemberRecord_hangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		g.atReport = func(ctx context.Context) { <-ctx.Done() }
		s, _ := g.start(t, reporting)
		msg := <-s.Output()
		last := time.Since(g.began)
		time.Sleep(3 * minIdle)
		synctest.Wait()
		msg.Ack()
		s.Close()
		assert.GreaterOrEqual(t, len(g.heldAt), 6)
		for _, at := range g.heldAt {
			assert.LessOrEqual(t, at-last, minIdle/2)
			last = at
		}
	})
}

// A subscription may hold thousands of entries: the lists need no memory for each.
func TestMemberRecord_fewAllocations(t *testing.T) { //nolint:paralleltest // it counts allocations
	b := newInbox(1, unordered)
	a := arrival{entries: make([]entry, 3000), began: time.Now()}
	for i := range a.entries {
		e := &a.entries[i]
		e.ID, e.Deliveries = fmt.Sprintf("%d-0", i), 1
		e.nacked(nil)
	}
	b.add(a)
	allocations := testing.AllocsPerRun(20, func() {
		var record stream.MemberRecord
		b.describe(&record)
		assert.Len(t, record.Failing, maxReported)
	})
	assert.Less(t, allocations, 20.0)
}
