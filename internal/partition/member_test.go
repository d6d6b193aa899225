package partition

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inGroup runs a test with a balanced group in a bubble.
func inGroup(t *testing.T, members, partitions int, test func(s *sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1, partitions, simLease)
		for i := range members {
			s.start(i)
		}
		s.await()
		time.Sleep(giveLatest + time.Second)
		require.True(t, s.isBalanced())
		test(s)
		s.onServer(func() { assert.Empty(t, s.overlaps) })
		s.end()
	})
}

// An outage is one line when it begins and one when it ends, and nobody gives anything up in it.
func TestMember_outage(t *testing.T) {
	t.Parallel()
	inGroup(t, 1, 4, func(s *sim) {
		t := s.t
		var log redistest.Log
		s.logger = log.Logger()
		s.start(1)
		time.Sleep(giveAfter / 2)
		s.outage(simLease / 2) // before the first member gives partitions up
		s.onServer(func() { assert.Zero(t, s.stopped) })
		assert.Equal(t, 1, log.Count("failed; retrying"))
		assert.Zero(t, log.Count("works again"))
		time.Sleep(3 * time.Second)
		assert.True(t, s.isBalanced())
		s.onServer(func() { assert.Equal(t, 2, s.stopped) })
		assert.Equal(t, 1, log.Count("failed; retrying"))
		assert.Equal(t, 1, log.Count("works again"))
	})
}

// Without a server Close ends with its context, and what was running ends, too.
func TestMember_closeInAnOutage(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, 4, func(s *sim) {
		t := s.t
		s.onServer(func() { s.downTill = time.Now().Add(time.Hour) })
		begun := time.Now()
		s.proc(s.names()[0]).close(time.Second)
		assert.Equal(t, time.Second, time.Since(begun))
	})
}

// Close waits for messages that are running.
func TestMember_closeWaitsForMessages(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, 4, func(s *sim) {
		t := s.t
		s.onServer(func() { s.settles = 5 * time.Second })
		name := s.names()[0]
		s.proc(name).close(time.Minute)
		s.onServer(func() { assert.NotContains(t, s.record.members, name) })
		s.await()
		s.onServer(func() {
			assert.LessOrEqual(t, slices.Max(s.gaps), time.Second, "each partition is taken when its message is settled")
		})
	})
}

// The partitions of a member that died are tried once before their leases are over and once after.
func TestMember_fewTries(t *testing.T) {
	t.Parallel()
	inGroup(t, 3, 12, func(s *sim) {
		t := s.t
		var before int
		s.onServer(func() { before = s.counts.acquires })
		s.die(s.names()[:1])
		s.await()
		s.onServer(func() { assert.LessOrEqual(t, s.counts.acquires-before, 8) })
	})
}

// More members than partitions: some stand by, and one of them takes over.
func TestMember_standsBy(t *testing.T) {
	t.Parallel()
	inGroup(t, 5, 2, func(s *sim) {
		t := s.t
		var owner string
		s.onServer(func() { s.moved, owner = 0, s.runs[0].by })
		s.leave([]string{owner})
		s.await()
		s.onServer(func() { assert.Equal(t, 1, s.moved) })
	})
}

// Records that can't be read count as those of members without partitions. Each is logged once.
func TestMember_unreadableRecord(t *testing.T) {
	t.Parallel()
	logger := watermill.NewCaptureLogger()
	var errs []watermill.CapturedMessage
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1, 6, simLease)
		s.logger = logger
		s.onServer(func() { s.record.beat(stream.Beat{Name: "foreign", State: "what?", Lease: time.Minute}) })
		s.onServer(func() { s.record.beat(stream.Beat{Name: "newer", State: "v2", Lease: time.Minute}) })
		s.start(0)
		time.Sleep(3 * time.Second)
		assert.Len(t, s.proc("member-0000").Held(), 2, "its share")
		s.onServer(func() { s.record.beat(stream.Beat{Name: "gone", State: "active - -", Lease: time.Second}) })
		time.Sleep(3 * time.Second) // then all members are read again
		errs = logger.Captured()[watermill.ErrorLogLevel]
		s.end()
	})
	require.Len(t, errs, 2, "once each")
	require.ErrorContains(t, errors.Join(errs[0].Err, errs[1].Err), `"foreign"`)
	require.ErrorContains(t, errors.Join(errs[0].Err, errs[1].Err), `"newer"`)
}

// localRunner is a Runner whose ownerships are in the memory of the process.
type localRunner struct {
	name    string
	owners  *localOwners
	changed chan struct{}
}

type localOwners struct {
	mu sync.Mutex
	of map[int]string
}

var errLocal = errors.New("no connection")

// Acquire is part of Runner.
func (r localRunner) Acquire(ctx context.Context, partition int) (time.Duration, error) {
	r.owners.mu.Lock()
	defer r.owners.mu.Unlock()
	switch owner := r.owners.of[partition]; {
	case ctx.Err() != nil:
		return 0, errLocal
	case owner != "" && owner != r.name:
		return time.Minute, nil
	}
	r.owners.of[partition] = r.name
	return 0, nil
}

// Stop is part of Runner.
func (r localRunner) Stop(partition int) {
	r.owners.mu.Lock()
	delete(r.owners.of, partition)
	r.owners.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Held is part of Runner.
func (r localRunner) Held() (list []int) {
	r.owners.mu.Lock()
	defer r.owners.mu.Unlock()
	for partition, owner := range r.owners.of {
		if owner == r.name {
			list = append(list, partition)
		}
	}
	return list
}

// Members share partitions through a record on a server, and leave nothing behind.
func TestMember_onAServer(t *testing.T) {
	t.Parallel()
	server := newServerRecord(t)
	owners := &localOwners{of: map[int]string{}}
	start := func(name string) *Member {
		changed := make(chan struct{}, 1)
		member := Start(Config{
			Name: name, Partitions: 12, Lease: 2 * time.Second, Record: server,
			Runner: localRunner{name, owners, changed}, Changed: changed, Logger: watermill.NopLogger{},
		})
		t.Cleanup(func() { member.Close(context.Background()) })
		return member
	}
	await := func(shares map[string]int) {
		t.Helper()
		require.Eventually(t, func() bool {
			for name, share := range shares {
				if len((localRunner{name, owners, nil}).Held()) != share {
					return false
				}
			}
			return true
		}, redistest.Soon, time.Millisecond)
	}
	a := start("a")
	await(map[string]int{"a": 12})
	b := start("b")
	await(map[string]int{"a": 6, "b": 6})
	before := (localRunner{"b", owners, nil}).Held()
	c := start("c")
	await(map[string]int{"a": 4, "b": 4, "c": 4})
	for _, partition := range (localRunner{"b", owners, nil}).Held() {
		assert.Contains(t, before, partition, "a join moves only what the newcomer gets")
	}
	a.Close(t.Context())
	await(map[string]int{"a": 0, "b": 6, "c": 6})
	require.NoError(t, server.client.Del(t.Context(), server.key, server.key+":leases", server.key+":changes").Err())
	require.Eventually(t, func() bool {
		return len(beat(t, server, "look", "active - -", 0).States) == 3
	}, redistest.Soon, 10*time.Millisecond, "members write themselves again")
	require.NoError(t, server.Leave(t.Context(), "look"))
	b.Close(t.Context())
	c.Close(t.Context())
	assert.Zero(t, server.client.Exists(t.Context(), server.key).Val())
}
