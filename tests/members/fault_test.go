package members

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// throughProxy returns the configuration of a member whose connections can be disturbed.
func throughProxy(b *fixture.Bench, readTimeout time.Duration) (*redistest.Proxy, redisstream.SubscriberConfig) {
	b.Helper()
	proxy := redistest.NewProxy(b, b.Server.Addr, 0)
	config := memberConfig()
	config.Client = b.Server.Client(b, func(o *redis.Options) { o.Addr, o.ReadTimeout, o.MaxRetries = proxy.Addr, readTimeout, -1 })
	return proxy, config
}

const flowKeys = 60 // each partition has some

// flow publishes a message of each key every 20 ms. end ends it, and returns how many of each key there
// are.
func flow(b *fixture.Bench) (end func() int) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	published := 0
	var publishing sync.WaitGroup
	publishing.Go(func() {
		every := time.NewTicker(20 * time.Millisecond)
		defer every.Stop()
		for ctx.Err() == nil {
			publish(b, flowKeys, published, 1)
			published++
			select {
			case <-every.C:
			case <-ctx.Done():
			}
		}
	})
	end = func() int {
		cancel()
		publishing.Wait()
		return published
	}
	b.Cleanup(func() { end() })
	return end
}

// gapLimit is how long a partition may wait for its next owner: a lease and a second, and what a
// machine adds on which other tests run.
const gapLimit = lease + 2*time.Second

// longestGap returns the longest time in which no message of some partition was handled.
func (j *journal) longestGap() (longest time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	last := map[int]time.Time{}
	for _, line := range j.lines {
		if before, found := last[line.partition]; found {
			longest = max(longest, line.at.Sub(before))
		}
		last[line.partition] = line.at
	}
	return longest
}

// finished waits until all messages are handled, and checks that they were in order.
func finished(b *fixture.Bench, j *journal, published int) {
	b.Helper()
	b.Eventually("all are handled", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, next := range j.next {
			if next != published {
				return false
			}
		}
		return len(j.next) == flowKeys
	})
	assert.Empty(b, j.broken)
	b.Eventually("all are acknowledged", func() bool {
		for _, name := range redisstream.PartitionTopics(b.Topic, partitions) {
			if b.Client.XPending(b.Context(), name, "g").Val().Count > 0 {
				return false
			}
		}
		return true
	})
}

// shared waits until each of the members has this many partitions.
func shared(b *fixture.Bench, j *journal, want ...int) {
	b.Helper()
	b.Eventually("they share", func() bool {
		have := j.shares(len(want))
		for i := range want {
			if have[i] != want[i] {
				return false
			}
		}
		return true
	})
}

// A member has no connection for longer than its lease. The context of its message ends with the lease,
// the other member goes on with its partitions, and what the old handler decides counts nothing. When
// the connection is back it is a member again.
func TestMembers_noConnection(t *testing.T) {
	t.Parallel()
	b, j := fixture.New(t), &journal{repeats: true}
	proxy, config := throughProxy(b, lease/2)
	caught, settle := make(chan *message.Message), make(chan struct{})
	again, goOn := make(chan *message.Message), make(chan struct{})
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(settle) }) })
	catch := make(chan struct{}, 1)
	subscriber, messages := b.Subscribe(config)
	var handlers sync.WaitGroup
	t.Cleanup(handlers.Wait)
	t.Cleanup(func() { assert.NoError(t, subscriber.Close()) })
	handlers.Go(func() {
		for msg := range messages {
			select {
			case <-catch:
				caught <- msg
				<-settle
			default:
				j.handled(0, msg)
			}
			msg.Ack()
		}
	})
	var entry redisstream.Entry
	var mu sync.Mutex
	j.consume(b, 1, memberConfig(), func(msg *message.Message) {
		mu.Lock()
		isCaught := entry.ID != "" && fixture.EntryOf(t, msg).ID == entry.ID && fixture.EntryOf(t, msg).Stream == entry.Stream
		mu.Unlock()
		if isCaught {
			again <- msg
			<-goOn
		}
	})
	end := flow(b)
	shared(b, j, 6, 6)

	catch <- struct{}{}
	running := fixture.Receive(t, caught)
	mu.Lock()
	entry = fixture.EntryOf(t, running)
	mu.Unlock()
	began := time.Now()
	proxy.Hang()
	redistest.Within(t, "the context of the message ends", running.Context().Done())
	assert.LessOrEqual(t, time.Since(began), lease+200*time.Millisecond)
	msg := fixture.Receive(t, again)
	assert.Greater(t, fixture.EntryOf(t, msg).Generation, entry.Generation)
	assert.EqualValues(t, 2, fixture.EntryOf(t, msg).Deliveries)

	proxy.Resume()
	once.Do(func() { close(settle) })
	redistest.Within(t, "the ack of the former owner", running.Acked())
	owner := fixture.EntryOf(t, msg).Consumer
	require.Never(t, func() bool {
		rows := b.Client.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: entry.Stream, Group: "g", Start: entry.ID, End: entry.ID, Count: 1}).Val()
		return len(rows) != 1 || rows[0].Consumer != owner
	}, 300*time.Millisecond, 10*time.Millisecond, "still that of the new owner")
	close(goOn)
	shared(b, j, 6, 6)
	finished(b, j, end())
	took := map[int]bool{}
	for _, line := range j.lines {
		if line.member == 1 && line.at.After(began) && line.partition != partitionOf(entry.Stream) && !took[line.partition] {
			took[line.partition] = true
			assert.Less(t, line.at.Sub(began), gapLimit, "partition %d", line.partition)
		}
	}
	assert.Len(t, took, partitions-1)
}

// The replies to the scripts of a member are lost: those that acquire partitions, those that write the
// record of the members, and those with which it leaves. Nothing is lost or handled twice, and no
// partition waits for longer than a lease and a second.
func TestMembers_lostReplies(t *testing.T) {
	t.Parallel()
	isAcquire := func(reply []byte) bool {
		return bytes.HasPrefix(reply, []byte("*3\r\n")) && bytes.Contains(reply, []byte("~"))
	}
	isRecord := func(reply []byte) bool { return bytes.HasPrefix(reply, []byte("*5\r\n:")) }
	for name, c := range map[string]struct {
		isLost  func([]byte) bool
		leaving bool
	}{
		"acquire": {isAcquire, false}, "beat": {isRecord, false}, "leave": {isRecord, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, j := fixture.New(t), &journal{}
			var mu sync.Mutex
			left := 0
			lose := func(n int) (before int) {
				mu.Lock()
				defer mu.Unlock()
				before, left = left, n
				return before
			}
			proxy, config := throughProxy(b, time.Second)
			proxy.OnReply(func(chunk []byte) (int, bool) {
				mu.Lock()
				defer mu.Unlock()
				if left == 0 || !c.isLost(chunk) {
					return len(chunk), false
				}
				left--
				return 0, true
			})
			end := flow(b)
			j.consume(b, 0, memberConfig(), nil)
			shared(b, j, 12, 0)
			if !c.leaving {
				lose(3)
			}
			second := j.consume(b, 1, config, nil)
			shared(b, j, 6, 6)
			assert.Zero(t, lose(0))
			if c.leaving {
				lose(3)
			}
			require.NoError(t, second.Close())
			assert.Zero(t, lose(0))
			shared(b, j, 12, 0)
			b.Eventually("it has left", func() bool {
				return b.Client.HLen(t.Context(), redisstream.PartitionMembersKey(b.Topic, "g")).Val() == 2
			})
			published := end()
			finished(b, j, published)
			assert.Equal(t, flowKeys*published, j.count(), "none is handled twice")
			assert.Less(t, j.longestGap(), gapLimit)
		})
	}
}

// The record of the members is deleted. They write themselves again, and no partition moves.
func TestMembers_recordIsDeleted(t *testing.T) {
	t.Parallel()
	b, j := fixture.New(t), &journal{}
	end := flow(b)
	j.consume(b, 0, memberConfig(), nil)
	j.consume(b, 1, memberConfig(), nil)
	shared(b, j, 6, 6)
	before := owners(b)
	key := redisstream.PartitionMembersKey(b.Topic, "g")
	for range 3 {
		require.EqualValues(t, 3, b.Client.Del(t.Context(), key, key+":leases", key+":changes").Val())
		b.Eventually("both are there", func() bool { return b.Client.HLen(t.Context(), key).Val() == 3 })
	}
	assert.Equal(t, before, owners(b))
	third := j.consume(b, 2, memberConfig(), nil)
	shared(b, j, 4, 4, 4)
	require.NoError(t, third.Close())
	shared(b, j, 6, 6, 0)
	published := end()
	finished(b, j, published)
	assert.Equal(t, flowKeys*published, j.count(), "none is handled twice")
	assert.Less(t, j.longestGap(), gapLimit)
}

// The server loses everything. The members own their partitions again, and handle what is published
// from then on.
func TestMembers_flushAll(t *testing.T) {
	t.Parallel()
	b, j := fixture.NewOn(t, redistest.Start(t)), &journal{}
	j.consume(b, 0, memberConfig(), nil)
	j.consume(b, 1, memberConfig(), nil)
	end := flow(b)
	shared(b, j, 6, 6)
	finished(b, j, end())
	require.NoError(t, b.Client.FlushAll(t.Context()).Err())
	j.mu.Lock()
	j.lines, j.next = nil, nil
	j.mu.Unlock()
	end = flow(b)
	b.Eventually("all partitions are handled", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		seen := map[int]bool{}
		for _, line := range j.lines {
			seen[line.partition] = true
		}
		return len(seen) == partitions
	})
	shared(b, j, 6, 6)
	finished(b, j, end())
}

// The server hangs. Close returns when CloseTimeout is over, and its grace: whether handlers run or not.
func TestMembers_closeWhileTheServerHangs(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]bool{"idle": false, "in a handler": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			proxy, config := throughProxy(b, 5*time.Second)
			config.CloseTimeout = 500 * time.Millisecond
			subscriber, messages := b.Subscribe(config)
			awaitAllOwned(b)
			var running *message.Message
			if busy {
				publish(b, flowKeys, 0, 1)
				running = fixture.Receive(t, messages)
			}
			proxy.Hang()
			began := time.Now()
			closed := make(chan error, 1)
			go func() { closed <- subscriber.Close() }()
			require.NoError(t, redistest.Within(t, "Close", closed))
			assert.Less(t, time.Since(began), config.CloseTimeout+1500*time.Millisecond, "900 ms, and what a busy machine adds")
			proxy.Resume()
			if busy {
				running.Ack()
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for range messages { // until it is closed: then nothing is logged any more
				}
			}()
			redistest.Within(t, "the end of the output", ended)
		})
	}
}
