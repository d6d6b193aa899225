package batch_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/batch"
	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const roundTrip = time.Second

// recorder is a Commit that takes the time of a round trip. It records its batches in the order in
// which the round trips begin.
type recorder struct {
	mu      sync.Mutex
	batches [][]int
	running int
	most    int // most round trips at the same time
}

func (r *recorder) commit(items []int) {
	r.mu.Lock()
	r.batches = append(r.batches, slices.Clone(items))
	r.running++
	r.most = max(r.most, r.running)
	r.mu.Unlock()
	time.Sleep(roundTrip)
	r.mu.Lock()
	r.running--
	r.mu.Unlock()
}

func (r *recorder) seen() [][]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

func TestAdd_firstGoesAtOnceAndTheRestTogetherInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit}
		began := time.Now()
		c.Add(0)
		assert.Zero(t, time.Since(began), "Add does not wait for the round trip")
		synctest.Wait()
		assert.Equal(t, [][]int{{0}}, r.seen(), "the round trip does not wait for more items")
		for i := 1; i <= 5; i++ {
			c.Add(i)
		}
		synctest.Wait()
		assert.Equal(t, [][]int{{0}}, r.seen(), "one round trip at a time")
		time.Sleep(roundTrip)
		synctest.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2, 3, 4, 5}}, r.seen())
		c.Add(6)
		c.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2, 3, 4, 5}, {6}}, r.seen())
		assert.Equal(t, 3*roundTrip, time.Since(began))
	})
}

func TestAdd_goesAtOnceAgainAfterIdleness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit}
		for i := range 3 {
			began := time.Now()
			c.Add(i)
			synctest.Wait() // nothing is queued, one is in flight
			c.Wait()
			assert.Equal(t, roundTrip, time.Since(began))
			time.Sleep(time.Minute)
		}
		assert.Equal(t, [][]int{{0}, {1}, {2}}, r.seen())
	})
}

func TestParallel_boundsTheRoundTripsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit, Parallel: func() int { return 3 }}
		began := time.Now()
		for i := range 10 {
			c.Add(i)
			synctest.Wait()
		}
		assert.Equal(t, [][]int{{0}, {1}, {2}}, r.seen())
		c.Wait()
		assert.Len(t, r.seen(), 4, "the next round trip takes all queued items")
		assert.ElementsMatch(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, slices.Concat(r.seen()...))
		assert.Equal(t, 3, r.most)
		assert.Equal(t, 2*roundTrip, time.Since(began))
	})
}

func TestParallel_isAskedEachTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var limit atomic.Int64
		limit.Store(1)
		c := batch.Committer[int]{Commit: r.commit, Parallel: func() int { return int(limit.Load()) }}
		c.Add(0)
		synctest.Wait()
		c.Add(1)
		synctest.Wait()
		assert.Equal(t, [][]int{{0}}, r.seen())
		limit.Store(2)
		c.Add(2)
		synctest.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2}}, r.seen())
		limit.Store(1)
		c.Add(3)
		synctest.Wait()
		assert.Len(t, r.seen(), 2)
		c.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2}, {3}}, r.seen())
	})
}

func TestParallel_fewerThanAreUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var limit atomic.Int64
		limit.Store(3)
		c := batch.Committer[int]{Commit: r.commit, Parallel: func() int { return int(limit.Load()) }}
		for i := range 3 {
			c.Add(i)
			time.Sleep(roundTrip / 10)
		}
		limit.Store(1)
		c.Add(3)
		time.Sleep(roundTrip - roundTrip*3/20) // the second has ended, the third has not
		assert.Equal(t, [][]int{{0}, {1}, {2}}, r.seen(), "two goroutines ended, the third continues")
		c.Wait()
		assert.Equal(t, [][]int{{0}, {1}, {2}, {3}}, r.seen())
	})
}

func TestParallel_splitsABatchThatWouldGoAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		parallel := 1
		c := batch.Committer[int]{Commit: r.commit, Parallel: func() int { return parallel }}
		began := time.Now()
		for i := range 10 {
			c.Add(i)
			synctest.Wait()
		}
		parallel = 2
		c.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2, 3, 4, 5}, {6, 7, 8, 9}}, r.seen())
		assert.Equal(t, 2*roundTrip, time.Since(began), "both halves at the same time")
	})
}

func TestMaxItems_boundsABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit, MaxItems: 3}
		c.Add(0)
		synctest.Wait()
		for i := 1; i <= 8; i++ {
			c.Add(i)
		}
		c.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2, 3}, {4, 5, 6}, {7, 8}}, r.seen())
		assert.Equal(t, 1, r.most)
	})
}

func TestRemove_takesBackWhatIsQueued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit}
		remove := func(item int) bool { return c.Remove(func(other int) bool { return other == item }) }
		assert.False(t, remove(0), "nothing is queued")
		c.Add(0)
		synctest.Wait()
		for i := 1; i <= 5; i++ {
			c.Add(i)
		}
		assert.False(t, remove(0), "it is in flight")
		assert.False(t, remove(9), "it was never added")
		assert.True(t, remove(1), "the first")
		assert.True(t, remove(3), "one in the middle")
		assert.True(t, remove(5), "the last")
		assert.False(t, remove(3), "it was removed before")
		c.Add(6)
		c.Wait()
		assert.Equal(t, [][]int{{0}, {2, 4, 6}}, r.seen())
		assert.False(t, remove(2), "it was committed")
	})
}

func TestRemove_ofAllThatIsQueuedCommitsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit}
		c.Add(0)
		synctest.Wait()
		c.Add(1)
		assert.True(t, c.Remove(func(int) bool { return true }))
		c.Wait()
		assert.Equal(t, [][]int{{0}}, r.seen())
		c.Add(2)
		c.Wait()
		assert.Equal(t, [][]int{{0}, {2}}, r.seen())
	})
}

// Commit owns its batch: later changes of the queue do not change it.
func TestRemove_changesNoBatchUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []int
		c := batch.Committer[int]{MaxItems: 2, Commit: func(items []int) {
			time.Sleep(roundTrip)
			got = append(got, items...)
		}}
		c.Add(0)
		synctest.Wait()
		for i := 1; i <= 5; i++ {
			c.Add(i)
		}
		time.Sleep(roundTrip)
		synctest.Wait() // 1 and 2 are in flight
		assert.True(t, c.Remove(func(item int) bool { return item == 3 }))
		c.Add(6)
		c.Wait()
		assert.Equal(t, []int{0, 1, 2, 4, 5, 6}, got)
	})
}

func TestWait_returnsWhenNothingIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit, MaxItems: 1, Parallel: func() int { return 2 }}
		began := time.Now()
		c.Wait()
		assert.Zero(t, time.Since(began), "nothing to wait for")
		for i := range 6 {
			c.Add(i)
		}
		var all sync.WaitGroup
		for range 3 { // several may wait at once
			all.Go(func() {
				c.Wait()
				assert.Equal(t, 3*roundTrip, time.Since(began))
				assert.Len(t, r.seen(), 6)
			})
		}
		all.Wait()
		c.Wait()
		assert.Equal(t, 3*roundTrip, time.Since(began))
	})
}

// goroutine returns the number of the calling goroutine.
func goroutine() string {
	stack := make([]byte, 64)
	stack = stack[:runtime.Stack(stack, false)]
	return string(bytes.Fields(stack)[1])
}

func TestDo_commitsInTheGoroutineOfTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var in []string
		c := batch.Committer[int]{Commit: func([]int) {
			in = append(in, goroutine())
			time.Sleep(roundTrip)
		}}
		began := time.Now()
		c.Do(0)
		assert.Equal(t, roundTrip, time.Since(began), "it ends before Do returns")
		assert.Equal(t, []string{goroutine()}, in)
		c.Add(1)
		c.Wait()
		assert.NotEqual(t, goroutine(), in[1], "Add starts a goroutine")
	})
}

func TestDo_waitsForNoRoundTripOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit}
		go c.Do(0)
		synctest.Wait()
		began := time.Now()
		c.Do(1)
		assert.Zero(t, time.Since(began), "a round trip is in flight: the item is queued")
		c.Wait()
		assert.Equal(t, [][]int{{0}, {1}}, r.seen())
	})
}

func TestDo_leavesToOthersWhatCameMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit}
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() {
			c.Do(0)
			assert.Equal(t, roundTrip, time.Since(began), "only its own round trip")
		})
		synctest.Wait()
		c.Add(1)
		c.Add(2)
		all.Wait()
		c.Wait()
		assert.Equal(t, [][]int{{0}, {1, 2}}, r.seen())
		assert.Equal(t, 2*roundTrip, time.Since(began))
	})
}

type item struct{ producer, number int }

// ledger counts the commits of each item, and records whether the items of each producer came in
// order.
type ledger struct {
	mu      sync.Mutex
	commits map[item]int
	last    map[int]int
	mixed   bool
}

func (l *ledger) commit(items []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range items {
		l.commits[it]++
		if before, ok := l.last[it.producer]; ok && before >= it.number {
			l.mixed = true
		}
		l.last[it.producer] = it.number
	}
}

func TestCommitter_commitsEveryItemOnceAndEachProducersInOrder(t *testing.T) {
	t.Parallel()
	const producers, each = 8, 2000
	for name, parallel := range map[string]func() int{
		"one round trip": nil, "up to four": func() int { return 1 + rand.N(4) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := ledger{commits: map[item]int{}, last: map[int]int{}}
			c := batch.Committer[item]{Parallel: parallel, MaxItems: 50, Commit: func(items []item) {
				assert.NotEmpty(t, items)
				assert.LessOrEqual(t, len(items), 50)
				l.commit(items)
			}}
			var mu sync.Mutex
			want := map[item]int{}
			produce := func(it item) {
				if it.number%3 == 0 {
					c.Do(it)
				} else {
					c.Add(it)
				}
				removed := it.number%7 == 0 && c.Remove(func(other item) bool { return other == it })
				mu.Lock()
				defer mu.Unlock()
				if !removed {
					want[it] = 1
				}
			}
			var all sync.WaitGroup
			for producer := range producers {
				all.Go(func() {
					for number := range each {
						produce(item{producer, number})
					}
				})
			}
			all.Wait()
			c.Wait()
			assert.True(t, maps.Equal(want, l.commits), "an item was lost, or committed twice, or after it was removed")
			if parallel == nil {
				assert.False(t, l.mixed, "the items of one producer are in order")
			}
		})
	}
}
