package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// delayedSet is a sorted set of delayed messages, with few different scores.
type delayedSet struct {
	*testing.T
	*rand.Rand
	client *redis.Client
	key    string
	added  int
	stays  map[string]bool // by ID: it was there from the beginning, and nobody touched it
}

func newDelayedSet(t *testing.T, seed uint64, n int) *delayedSet {
	t.Helper()
	s := &delayedSet{
		T: t, Rand: rand.New(rand.NewPCG(seed, 1)), client: redistest.Shared().Client(t),
		key: fmt.Sprintf("{%s}:delayed", t.Name()), stays: map[string]bool{},
	}
	require.NoError(t, s.client.Del(t.Context(), s.key).Err()) // what an earlier run left
	for _, id := range s.add(n) {
		s.stays[id] = true
	}
	return s
}

func (s *delayedSet) member(id string) string { return fmt.Sprintf("4:%s0:0:1:a1:b", id) }

// add adds entries between others.
func (s *delayedSet) add(n int) (ids []string) {
	s.Helper()
	var rows []redis.Z
	for range n {
		id := fmt.Sprintf("%04d", (s.added*7919)%10_000)
		s.added++
		ids, rows = append(ids, id), append(rows, redis.Z{Score: float64(s.IntN(4)), Member: s.member(id)})
	}
	require.NoError(s, s.client.ZAdd(s.Context(), s.key, rows...).Err())
	return ids
}

// remove removes n entries: the first ones, as a mover does, or some.
func (s *delayedSet) remove(n int64) {
	s.Helper()
	all, err := s.client.ZRange(s.Context(), s.key, 0, -1).Result()
	require.NoError(s, err)
	if s.IntN(2) == 0 {
		s.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	for _, member := range all[:min(n, int64(len(all)))] {
		require.NoError(s, s.client.ZRem(s.Context(), s.key, member).Err())
		delete(s.stays, textsOf(member)[0])
	}
}

// An entry that stays where it is comes exactly once and in its place, whatever others do between
// the pages, and whatever is done with the entries of a page.
func TestDelayedPages_othersChangeTheSet(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := newDelayedSet(t, seed, 1500)
			pages := NewDelayed(s.client, s.key, "stream").Pages()
			var last DelayedEntry
			seen := map[string]int{}
			for {
				page, err := pages.Next(t.Context())
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				for i, e := range page {
					assert.True(t, i == 0 && len(seen) == 0 || e.after(last), "%s after %s", e.ID, last.ID)
					last = e
					seen[e.ID]++
				}
				s.change(pages, page)
			}
			for id := range s.stays {
				assert.Equal(t, 1, seen[id], id)
			}
			for id, n := range seen {
				assert.Equal(t, 1, n, id)
			}
			assert.NotEmpty(t, s.stays)
		})
	}
}

// change does with the entries of a page what callers do, and what others do with the set.
func (s *delayedSet) change(pages *DelayedPages, page []DelayedEntry) {
	s.Helper()
	act := []func(*DelayedPages, context.Context, DelayedEntry) (bool, error){(*DelayedPages).Drop, (*DelayedPages).MakeDue}[s.IntN(2)]
	for _, e := range page {
		if s.IntN(3) > 0 {
			continue
		}
		_, err := act(pages, s.Context(), e)
		require.NoError(s, err)
		delete(s.stays, e.ID)
	}
	if s.IntN(3) == 0 {
		s.remove(int64(s.IntN(50)))
	}
	if s.IntN(3) == 0 {
		s.add(1 + s.IntN(50))
	}
}

// What is added while pages are read, later than all others, makes no endless work.
func TestDelayedPages_end(t *testing.T) {
	t.Parallel()
	s := newDelayedSet(t, 1, 150)
	pages := NewDelayed(s.client, s.key, "stream").Pages()
	n := 0
	for page := []DelayedEntry{{}}; len(page) > 0; n++ {
		require.Less(t, n, 10)
		require.NoError(t, s.client.ZAdd(t.Context(), s.key, redis.Z{Score: float64(1000 + n), Member: s.member(fmt.Sprint(1000 + n))}).Err())
		var err error
		page, err = pages.Next(t.Context())
		require.NoError(t, err)
	}
}
