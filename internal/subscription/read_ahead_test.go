package subscription

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// experienced returns a read-ahead that knows fast handlers and small entries.
func experienced(workers int) readAhead {
	r := newReadAhead(workers)
	for range 2 * maxAhead {
		r.finished(10 * time.Microsecond)
	}
	r.received(maxRead, 100, maxRead*100, time.Millisecond)
	return r
}

func TestReadAhead_growsWithFastHandlers(t *testing.T) {
	t.Parallel()
	r := newReadAhead(1)
	assert.Zero(t, r.ahead(), "their speed is unknown")
	r.finished(time.Microsecond)
	assert.Equal(t, 1, r.ahead())
	for range 9 {
		r.finished(time.Microsecond)
	}
	assert.Equal(t, 10, r.ahead())
	for range 100 {
		r.finished(time.Second)
	}
	assert.Zero(t, r.ahead(), "they take longer than the window")
}

func TestReadAhead_runsDownToHalf(t *testing.T) {
	t.Parallel()
	r := experienced(1)
	assert.Equal(t, maxRead, r.room(load{}).entries)
	half := r.ahead() / 2
	assert.NotZero(t, r.room(load{working: 1, ready: half, held: half}).entries)
	assert.Zero(t, r.room(load{working: 1, ready: half + 1, held: half + 1}).entries)
}

func TestReadAhead_fullInbox(t *testing.T) {
	t.Parallel()
	r := experienced(4)
	assert.Zero(t, r.room(load{bytes: maxHeldBytes, held: 10}).entries, "it is full")
	got := r.room(load{bytes: maxHeldBytes, held: 10, claiming: true})
	assert.Equal(t, 1, got.entries, "what it holds waits for what is claimed next")
	assert.Zero(t, r.room(load{bytes: 2 * maxHeldBytes, held: 10, claiming: true, claimed: 1}).entries, "which waits too")
	r.received(1, 1<<20, 1<<20, time.Millisecond)
	assert.LessOrEqual(t, r.room(load{}).entries, maxHeldBytes>>20)
}

// Claimed entries that wait for older ones do not keep those from being claimed.
func TestReadAhead_claimedEntriesWaitForOlderOnes(t *testing.T) {
	t.Parallel()
	r := newReadAhead(1)
	waiting := load{order: strict, blocked: 2, held: 2, claimed: 2}
	assert.Zero(t, r.room(waiting).entries)
	waiting.claiming = true
	assert.Equal(t, 1, r.room(waiting).entries)
	waiting.working = 1
	assert.Zero(t, r.room(waiting).entries, "the worker is busy")
}

func TestReadAhead_slowReadsGetSmaller(t *testing.T) {
	t.Parallel()
	r := experienced(1)
	r.received(10, 100_000, 1_000_000, 10*slowRead)
	assert.InDelta(t, 100_000, r.room(load{}).bytes, 1)
	r.received(1, 100_000, 100_000, time.Millisecond)
	assert.Equal(t, 200_000, r.room(load{}).bytes)
	r.failed()
	assert.Equal(t, room{entries: 1, bytes: 1}, r.room(load{}))
}

func TestReadAhead_idleWorkersGetOtherKeys(t *testing.T) {
	t.Parallel()
	r := newReadAhead(8)
	r.seen = 1000
	blocked := load{order: byKey, working: 1, blocked: 100, held: 101}
	assert.NotZero(t, r.room(blocked).entries)
	blocked.order = unordered
	assert.Zero(t, r.room(blocked).entries)
	full := load{order: byKey, working: 1, blocked: maxAhead, held: maxAhead + 1}
	assert.Zero(t, r.room(full).entries)
}
