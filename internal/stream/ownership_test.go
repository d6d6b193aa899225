package stream_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func ownerKey(key string) string { return "{" + key + "}:owner:" + groupName }

// longLease is a lease that does not end during a test.
const longLease = time.Hour

// acquire makes a consumer the owner of a stream.
func acquire(t *testing.T, o *stream.Ownership) int64 {
	t.Helper()
	state, err := o.Acquire(t.Context())
	require.NoError(t, err)
	require.True(t, state.Acquired)
	require.Zero(t, state.Wait)
	require.Equal(t, state.Generation, o.Generation())
	return state.Generation
}

// own makes the consumer of a group, whose name is given, its exclusive one.
func own(t *testing.T, client redis.UniversalClient, group *stream.Group, key, consumer string) *stream.Ownership {
	t.Helper()
	o := stream.NewOwnership(client, ownerKey(key), consumer, longLease)
	acquire(t, o)
	group.Own(o)
	return o
}

// endLease ends the lease of the owner on the server.
func endLease(t *testing.T, client redis.Cmdable, key string) {
	t.Helper()
	require.NoError(t, client.HSet(t.Context(), ownerKey(key), "until", 1).Err())
}

// isOver reports whether a consumer knows that its generation is over.
func isOver(o *stream.Ownership) bool {
	select {
	case <-o.Over():
		return true
	default:
		return false
	}
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	a := stream.NewOwnership(client, ownerKey(key), "a", longLease)
	b := stream.NewOwnership(client, ownerKey(key), "b", time.Second)
	assert.Zero(t, a.Generation())
	assert.Zero(t, a.Left())
	require.ErrorIs(t, a.Renew(t.Context()), stream.ErrNotOwner, "nobody is the owner")
	first := acquire(t, a)
	assert.Positive(t, client.PTTL(t.Context(), ownerKey(key)).Val(), "it expires")
	assert.InDelta(t, longLease.Seconds(), a.Left().Seconds(), 60)

	state, err := b.Acquire(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "a", state.Owner)
	assert.Equal(t, first, state.Generation)
	assert.False(t, state.Acquired)
	assert.InDelta(t, longLease.Seconds(), state.Wait.Seconds(), 60, "the lease is that of the owner")
	assert.Zero(t, b.Generation())
	require.ErrorIs(t, b.Renew(t.Context()), stream.ErrNotOwner)
	require.ErrorIs(t, b.Release(t.Context()), stream.ErrNotOwner)

	const some = 50 * time.Millisecond
	require.Eventually(t, func() bool { return a.Left() < longLease-some }, soon, time.Millisecond, "it passes")
	require.Eventually(t, func() bool { return a.Renew(t.Context()) == nil && a.Left() > longLease-some }, soon, time.Millisecond)

	endLease(t, client, key)
	require.NoError(t, a.Renew(t.Context()), "nobody replaced the owner")
	state, err = b.Acquire(t.Context())
	require.NoError(t, err)
	assert.False(t, state.Acquired)

	endLease(t, client, key)
	second := acquire(t, b)
	assert.Greater(t, second, first)
	assert.LessOrEqual(t, b.Left(), time.Second)
	assert.Positive(t, a.Left(), "it has not heard of it")
	assert.False(t, isOver(a))
	require.ErrorIs(t, a.Renew(t.Context()), stream.ErrNotOwner)
	assert.Zero(t, a.Left())
	assert.True(t, isOver(a))
	require.ErrorIs(t, a.Release(t.Context()), stream.ErrNotOwner)
	require.NoError(t, b.Renew(t.Context()), "its release changed nothing")

	assert.False(t, isOver(b))
	require.NoError(t, b.Release(t.Context()))
	assert.Zero(t, b.Left())
	assert.True(t, isOver(b))
	require.ErrorIs(t, b.Renew(t.Context()), stream.ErrNotOwner)
	assert.Greater(t, acquire(t, a), second)
	assert.False(t, isOver(a))
	assert.Positive(t, client.PTTL(t.Context(), ownerKey(key)).Val(), "it expires")
}

// The generation rises also if the key was lost, and if it is ahead of the server's clock.
func TestOwnership_generationRises(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	key := ownKey(t)
	a := stream.NewOwnership(client, ownerKey(key), "a", longLease)
	b := stream.NewOwnership(client, ownerKey(key), "b", longLease)
	last := int64(0)
	for _, lose := range []redis.Cmder{redis.NewCmd(t.Context(), "flushall"), redis.NewCmd(t.Context(), "del", ownerKey(key))} {
		former := acquire(t, a)
		assert.Greater(t, former, last)
		require.NoError(t, client.Process(t.Context(), lose))
		last = acquire(t, b)
		assert.Greater(t, last, former, lose)
		require.ErrorIs(t, a.Renew(t.Context()), stream.ErrNotOwner)
		require.NoError(t, b.Release(t.Context()))
	}
	last += time.Hour.Microseconds()
	require.NoError(t, client.HSet(t.Context(), ownerKey(key), "generation", last).Err())
	assert.Equal(t, last+1, acquire(t, a))
}

// lossy returns a client that gets no reply to the next command, and does not try again by itself
// unless tries is positive.
func lossy(t *testing.T, server *redistest.Server, tries int) (client *redis.Client, loseNext func()) {
	t.Helper()
	proxy := redistest.NewProxy(t, server.Addr, 0)
	client = server.Client(t, func(o *redis.Options) { o.Addr, o.MaxRetries = proxy.Addr, max(tries, -1) })
	return client, func() {
		var once sync.Once
		proxy.OnReply(func(chunk []byte) (pass int, cut bool) {
			pass = len(chunk)
			once.Do(func() { pass, cut = 0, true })
			return pass, cut
		})
	}
}

func TestOwnership_lostReplies(t *testing.T) {
	t.Parallel()
	server := redistest.Shared()
	direct := server.Client(t)
	for name, tries := range map[string]int{"no retry": -1, "go-redis retries": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := ownKey(t)
			client, loseNext := lossy(t, server, tries)
			o := stream.NewOwnership(client, ownerKey(key), "a", longLease)
			acquire(t, o) // the server has the scripts
			require.NoError(t, o.Renew(t.Context()))
			require.NoError(t, o.Release(t.Context()))
			// again runs a call whose reply is lost, and then again.
			again := func(call func() error) {
				loseNext()
				if err := call(); tries < 0 {
					require.Error(t, err)
					require.NotErrorIs(t, err, stream.ErrNotOwner)
					err = call()
					require.NoError(t, err)
				} else {
					require.NoError(t, err)
				}
			}

			first := acquire(t, o)
			require.NoError(t, direct.HSet(t.Context(), ownerKey(key), "until", 1).Err())
			again(func() error {
				_, err := o.Acquire(t.Context())
				return err
			})
			second := o.Generation()
			assert.Greater(t, second, first)
			assert.Equal(t, fmt.Sprint(second), direct.HGet(t.Context(), ownerKey(key), "generation").Val())
			again(func() error { return o.Renew(t.Context()) })
			again(func() error { return o.Release(t.Context()) })
			assert.Zero(t, o.Left())
			assert.Equal(t, fmt.Sprint(second), direct.HGet(t.Context(), ownerKey(key), "generation").Val(), "it was certain")

			loseNext() // an Acquire without a reply, and no other one
			_, err := o.Acquire(t.Context())
			assert.Equal(t, tries < 0, err != nil)
			assert.Equal(t, "a", direct.HGet(t.Context(), ownerKey(key), "consumer").Val())
			require.NoError(t, o.Release(t.Context()))
			assert.Empty(t, direct.HGet(t.Context(), ownerKey(key), "consumer").Val())

			add(t, direct, key, 2)
			group := join(t, client, key, "a")
			acquire(t, o)
			group.Own(o)
			require.Len(t, read(t, group, 2), 2)
			_, err = group.Release(t.Context(), stream.Release{}) // the server has the script
			require.NoError(t, err)
			again(func() error {
				_, err := group.Release(t.Context(), stream.Release{Remove: true, Leaves: true})
				return err
			})
			assert.Zero(t, o.Left())
			assert.Empty(t, direct.HGet(t.Context(), ownerKey(key), "consumer").Val())
		})
	}
}

// A reply that arrives when its generation is over begins nothing, and ends nothing of the next one.
func TestOwnership_lateReplies(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 1)
	o := own(t, client, a, key, "a")
	replies := &sent{name: "evalsha"}
	replies.after = func() {
		if replies.n == 1 {
			require.NoError(t, o.Release(t.Context()))
		}
	}
	client.AddHook(replies)
	require.NoError(t, o.Renew(t.Context()), "it was before the release")
	assert.Zero(t, o.Left())
	assert.True(t, isOver(o))

	acquire(t, o)
	require.ErrorIs(t, a.Ack(t.Context(), added), stream.ErrNotOwner, "of the generation before")
	assert.Positive(t, o.Left())
	assert.False(t, isOver(o))
}

// A consumer that leaves releases the stream with the last of its entries, unless it keeps some.
func TestOwnership_releasedWithTheEntries(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 1500) // more than one page
	o := own(t, client, a, key, "a")
	next := stream.NewOwnership(client, ownerKey(key), "b", longLease)

	endLease(t, client, key)
	_, err := a.Release(t.Context(), stream.Release{Keep: added[:1], Leaves: true})
	require.NoError(t, err)
	assert.Positive(t, o.Left())
	state, err := next.Acquire(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "a", state.Owner)
	assert.InDelta(t, longLease.Seconds(), state.Wait.Seconds(), 60, "its lease was renewed")

	_, err = a.Release(t.Context(), stream.Release{})
	require.NoError(t, err)
	require.NoError(t, o.Renew(t.Context()), "it does not leave")

	scripts := &sent{name: "evalsha"}
	scripts.after = func() {
		state, err := next.Acquire(t.Context())
		require.NoError(t, err)
		assert.Equal(t, scripts.n == 2, state.Acquired, "after the last page")
	}
	other := redistest.Shared().Client(t) // the hook runs on a, not on next
	leaving := stream.NewGroup(other, key, groupName, "a")
	t.Cleanup(leaving.Close)
	leaving.Own(o)
	other.AddHook(scripts)
	_, err = leaving.Release(t.Context(), stream.Release{Remove: true, Leaves: true})
	require.NoError(t, err)
	assert.Equal(t, 2, scripts.n)
	assert.Zero(t, o.Left())
	for _, row := range pendingRows(t, client, key) {
		require.Greater(t, row.Idle, 24*time.Hour, "released")
	}
}

// The server's clock is set back by an hour. Others wait for one more lease at most, whether the owner
// goes on or is dead.
func TestOwnership_clockSetBack(t *testing.T) {
	t.Parallel()
	for name, renews := range map[string]bool{"the owner goes on": true, "the owner is dead": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartWithClock(t, 0)
			client := server.Client(t)
			key := ownKey(t)
			const lease = 300 * time.Millisecond
			a := stream.NewOwnership(client, ownerKey(key), "a", lease)
			b := stream.NewOwnership(client, ownerKey(key), "b", longLease)
			first := acquire(t, a)
			require.NoError(t, server.SetClock(-time.Hour))
			began := time.Now()
			state, err := b.Acquire(t.Context())
			require.NoError(t, err)
			assert.False(t, state.Acquired)
			assert.LessOrEqual(t, state.Wait, lease+time.Millisecond)
			if renews {
				began = time.Now()
				require.NoError(t, a.Renew(t.Context()))
			}
			require.Eventually(t, func() bool {
				state, err = b.Acquire(t.Context())
				return err == nil && state.Acquired
			}, soon, time.Millisecond)
			assert.GreaterOrEqual(t, time.Since(began), lease)
			assert.Greater(t, state.Generation, first, "although the time is earlier")
			assert.Zero(t, a.Left())
		})
	}
}

// Many contend for a stream. Each owner keeps it for a while, and leaves or falls silent. What one
// takes for its time never overlaps with that of the next.
func TestOwnership_oneAtATime(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	const (
		contenders = 50
		turns      = 200
		lease      = 10 * time.Millisecond
	)
	type turn struct {
		generation int64
		from, to   time.Time // to is zero if the lease was over at once
	}
	var (
		mu      sync.Mutex
		history []turn
		running sync.WaitGroup
	)
	ended, end := context.WithTimeout(t.Context(), soon)
	defer end()
	ifNotLost := func(err error) {
		if err != nil {
			assert.ErrorIs(t, err, stream.ErrNotOwner)
		}
	}
	contend := func(o *stream.Ownership, renews, releases bool) {
		state, err := o.Acquire(t.Context())
		if !assert.NoError(t, err) || !state.Acquired {
			select {
			case <-time.After(state.Wait):
			case <-ended.Done():
			}
			return
		}
		mine := turn{generation: state.Generation, from: time.Now()}
		if renews {
			ifNotLost(o.Renew(t.Context()))
		}
		now := time.Now()
		if left := o.Left(); left > 0 && releases {
			mine.to = now
		} else if left > 0 {
			mine.to = now.Add(left)
		}
		if releases {
			ifNotLost(o.Release(t.Context()))
		}
		mu.Lock()
		defer mu.Unlock()
		if history = append(history, mine); len(history) >= turns {
			end()
		}
	}
	for place := range contenders {
		running.Go(func() {
			for n := 0; ended.Err() == nil; n++ {
				name := fmt.Sprintf("%d in turn %d", place, n)
				contend(stream.NewOwnership(client, ownerKey(key), name, lease), n%3 == 0, n%2 == 0)
			}
		})
	}
	running.Wait()
	require.GreaterOrEqual(t, len(history), turns)
	slices.SortFunc(history, func(a, b turn) int { return int(a.generation - b.generation) })
	for i, next := range history[1:] {
		former := history[i]
		require.Greater(t, next.generation, former.generation)
		require.False(t, next.from.Before(former.to), "%+v and %+v", former, next)
	}
}

// A former owner is blocked in a read on the server, which gives it the next entry. The owner finds
// that, and claims the entry before it handles its own.
func TestHasForeign_blockedRead(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	key := ownKey(t)
	a, b := join(t, client, key, "a"), join(t, client, key, "b")
	own(t, client, a, key, "a")
	result := reading(a, 1, time.Minute)
	awaitBlocked(t, client, 1)
	endLease(t, client, key)
	own(t, client, b, key, "b")
	foreign, err := b.HasForeign(t.Context())
	require.NoError(t, err)
	assert.False(t, foreign)

	added := add(t, client, key, 3)
	stolen := redistest.Within(t, "the former owner reads", result)
	require.NoError(t, stolen.err)
	require.Equal(t, added[:1], ids(stolen.entries))
	require.Equal(t, added[1:], ids(read(t, b, 10)))
	foreign, err = b.HasForeign(t.Context())
	require.NoError(t, err)
	assert.True(t, foreign)

	rows, err := b.Pending(t.Context(), stream.Page{From: "-", Count: 10})
	require.NoError(t, err)
	claimed, err := b.Claim(t.Context(), stream.Claim{Rows: rows, Limit: all})
	require.NoError(t, err)
	assert.Equal(t, added, ids(claimed.Entries), "in order, whatever the idle time")
	foreign, err = b.HasForeign(t.Context())
	require.NoError(t, err)
	assert.False(t, foreign)
	require.ErrorIs(t, a.Ack(t.Context(), added[:1]), stream.ErrNotOwner)
	require.NoError(t, b.Ack(t.Context(), added))
	assert.Empty(t, pending(t, client, key))
}

// What an owner acknowledges frees memory, so a full server must not end its lease, or keep others from
// being its successor.
func TestOwnership_fullServer(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t, "--maxmemory-policy", "noeviction").Client(t)
	key := ownKey(t)
	o := stream.NewOwnership(client, ownerKey(key), "a", longLease)
	acquire(t, o)
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	require.ErrorContains(t, client.HSet(t.Context(), ownerKey(key), "until", 1).Err(), "OOM")
	require.NoError(t, o.Renew(t.Context()))
	require.NoError(t, o.Release(t.Context()))
	acquire(t, stream.NewOwnership(client, ownerKey(key), "b", longLease))
	acquire(t, stream.NewOwnership(client, ownerKey(key+"new"), "b", longLease))
}
