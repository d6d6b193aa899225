package subscription

import (
	"testing"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

func queuedEntry(id, key string) *entry { return &entry{Entry: stream.Entry{ID: id}, key: key} }

// taken empties the queues like workers that finish each entry at once.
func taken(q *keyQueues) (ids []string) {
	for q.hasNext() {
		e := q.next()
		e.become(inFlight)
		e.handed++
		ids = append(ids, e.ID)
		q.unblock(e)
	}
	return ids
}

func TestKeyQueues_oneEntryOfAKeyIsReady(t *testing.T) {
	t.Parallel()
	q := newKeyQueues(byKey)
	for _, e := range []*entry{queuedEntry("1-0", "a"), queuedEntry("2-0", "a"), queuedEntry("3-0", "b"), queuedEntry("4-0", "a")} {
		q.add(e, false)
	}
	ready, blocked := q.waiting()
	assert.Equal(t, []int{2, 2}, []int{ready, blocked})
	first := q.next()
	assert.Equal(t, "1-0", first.ID)
	assert.Equal(t, "3-0", q.next().ID)
	assert.False(t, q.hasNext(), "the others are blocked by the first")
	assert.True(t, q.unblock(first))
	assert.Equal(t, "2-0", q.next().ID)
}

func TestKeyQueues_emptyKeyQueuesAreForgotten(t *testing.T) {
	t.Parallel()
	q := newKeyQueues(byKey)
	q.add(queuedEntry("1-0", "a"), false)
	assert.Equal(t, []string{"1-0"}, taken(&q))
	assert.Empty(t, q.byKey)
}

func TestKeyQueues_sortedEntriesGoBeforeNewerOnes(t *testing.T) {
	t.Parallel()
	for _, order := range []order{byKey, strict} {
		q := newKeyQueues(order)
		for _, id := range []string{"10-0", "11-0"} {
			q.add(queuedEntry(id, ""), false)
		}
		for _, id := range []string{"3-0", "5-0", "12-0"} {
			q.add(queuedEntry(id, ""), true)
		}
		assert.Equal(t, []string{"3-0", "5-0", "10-0", "11-0", "12-0"}, taken(&q))
	}
}

func TestKeyQueues_whatAHandlerHadStaysFirst(t *testing.T) {
	t.Parallel()
	q := newKeyQueues(strict)
	head := queuedEntry("10-0", "")
	q.add(head, false)
	q.next()
	head.handed = 1
	q.add(queuedEntry("3-0", ""), true)
	assert.False(t, q.hasNext(), "the older one waits: it can't be in order any more")
	q.requeue(head)
	assert.Equal(t, []string{"10-0", "3-0"}, taken(&q))
}

func TestKeyQueues_newerEntriesWaitForAGap(t *testing.T) {
	t.Parallel()
	q := newKeyQueues(byKey)
	q.add(queuedEntry("3-0", "a"), false)
	q.add(queuedEntry("10-0", "b"), false)
	assert.True(t, q.setGap("5-0"))
	assert.False(t, q.setGap("5-0"), "nothing changes")
	assert.Equal(t, "3-0", q.next().ID)
	assert.False(t, q.hasNext())
	assert.True(t, q.setGap(""))
	assert.True(t, q.hasNext())

	q = newKeyQueues(unordered)
	q.add(queuedEntry("10-0", ""), false)
	assert.False(t, q.setGap("5-0"), "there is no order to keep")
	assert.True(t, q.hasNext())
}
