package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// retryQueue is the retry queue of a consumer group on a stream: entries that the group gets again
// later, and no other group. They are acknowledged in the stream, so no trimming of it reaches them.
// An entry that a consumer has taken is leased to it, as a pending one is.
type retryQueue struct {
	client   redis.UniversalClient
	keys     []string // the queue, its entries; nil: the user may not use it
	consumer string
	lease    time.Duration
	fence    *fence // that of the Group

	mu   sync.Mutex
	held map[string]uint64 // entries that this consumer took: the number of the take, by ID
	take uint64
}

// retryKeys returns the keys of a retry queue.
func retryKeys(queue string) []string { return []string{queue, queue + ":entries"} }

// Postponement is an entry that is to come again later.
type Postponement struct {
	Lease

	Wait time.Duration // at least, by the server's clock
}

// PostponeResult is the outcome of Postpone for one entry.
type PostponeResult int64

// The results of Postpone. After any other one the entry is still held.
const (
	Postponed         PostponeResult = 1  // it is in the retry queue
	PostponedNotOwned PostponeResult = 0  // it belongs to another consumer, or is acknowledged
	PostponedTrimmed  PostponeResult = -1 // it is no longer in the stream
	PostponedTooLarge PostponeResult = -2 // it has too many fields
)

// Postpone puts entries that this consumer holds into the retry queue, and acknowledges them. It
// can be repeated.
func (g *Group) Postpone(ctx context.Context, entries []Postponement) ([]PostponeResult, error) {
	if g.retries.keys == nil {
		return nil, errNoRetryQueue
	}
	args := []any{g.name, g.consumer}
	for _, e := range entries {
		args = append(args, e.ID, waitMilliseconds(e.Wait), e.Deliveries)
	}
	taken := g.retries.taken(entries)
	reply, err := g.fence.run(ctx, g.shared, postponeScript, append([]string{g.key}, g.retries.keys...), args).Int64Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) != len(entries) {
		return nil, fmt.Errorf("postpone script: %d elements in its reply", len(reply))
	}
	results := make([]PostponeResult, len(reply))
	for i, result := range reply {
		results[i] = PostponeResult(result)
		if result == int64(Postponed) {
			g.retries.forgetTake(entries[i].ID, taken[i])
		}
	}
	return results, nil
}

var errNoRetryQueue = ownError("NOPERM the user may not use the retry queue of the group")

// TakeRetries takes entries of the retry queue that are due. It returns when the next one is due;
// below 0: none is left. If the reply is lost, they can be taken again when the lease is over.
func (g *Group) TakeRetries(ctx context.Context, limit Limit) (entries []Entry, wait time.Duration, err error) {
	args := []any{g.consumer, g.retries.lease.Milliseconds(), limit.Count, limit.Bytes}
	err = g.onPrivateDecoded(ctx, 0, func(ctx context.Context, c privateClient) error {
		return g.fence.run(ctx, c, takeRetriesScript, g.retries.keys, args).Err()
	}, func(d *decoder) (err error) {
		entries, wait, err = d.retries()
		return err
	})
	g.retries.hold(entries)
	return entries, wait, err
}

// retries decodes the reply of the script that takes entries of the retry queue.
func (d *decoder) retries() (entries []Entry, wait time.Duration, err error) {
	if err := d.fixedList(2); err != nil {
		return nil, 0, err
	}
	if entries, err = d.list((*decoder).claimedEntry); err != nil {
		return nil, 0, err
	}
	for i := range entries {
		entries[i].Deliveries = entries[i].Counted + 1
	}
	ms, err := d.integer()
	return entries, time.Duration(ms) * time.Millisecond, err
}

func (q *retryQueue) hold(entries []Entry) {
	if len(entries) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held == nil {
		q.held = make(map[string]uint64)
	}
	q.take++
	for _, e := range entries {
		q.held[e.ID] = q.take
	}
}

// taken returns in which take this consumer got each of the entries; 0: in none.
func (q *retryQueue) taken(entries []Postponement) []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	takes := make([]uint64, len(entries))
	for i, e := range entries {
		takes[i] = q.held[e.ID]
	}
	return takes
}

// forgetTake forgets an entry that this consumer does not hold any more, unless a later take got it.
func (q *retryQueue) forgetTake(id string, take uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held[id] == take {
		delete(q.held, id)
	}
}

func (q *retryQueue) forget(ids ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		delete(q.held, id)
	}
}

// takeOf returns in which take this consumer got an entry from the queue; 0: in none.
func (q *retryQueue) takeOf(id string) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[id]
}

// split separates the leases of entries of the queue from those of pending entries.
func (q *retryQueue) split(leases []Lease) (queued, pending []Lease) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.held) == 0 {
		return nil, leases
	}
	for _, l := range leases {
		if _, held := q.held[l.ID]; held {
			queued = append(queued, l)
		} else {
			pending = append(pending, l)
		}
	}
	return queued, pending
}

// among returns which of the entries were taken from the queue.
func (q *retryQueue) among(ids []string) (queued []Lease) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.held) == 0 {
		return nil
	}
	for _, id := range ids {
		if _, held := q.held[id]; held {
			queued = append(queued, Lease{ID: id})
		}
	}
	return queued
}

// settlement is what becomes of entries of the queue.
type settlement string

const (
	renew       settlement = "renew"
	free        settlement = "release"
	acknowledge settlement = "acknowledge"
)

// settle settles entries that this consumer took. It returns those that it does not hold any more.
func (q *retryQueue) settle(ctx context.Context, action settlement, leases []Lease) (lost []string, err error) {
	if len(leases) == 0 {
		return nil, nil
	}
	args := leaseArgs([]any{q.consumer, q.lease.Milliseconds(), string(action)}, leases)
	lost, err = q.fence.run(ctx, q.client, settleRetriesScript, q.keys, args).StringSlice()
	if redis.HasErrorPrefix(err, "WRONGTYPE") { // another program replaced the queue
		lost, err = idsOf(leases), nil
	}
	if err != nil {
		return nil, err
	}
	q.forget(lost...)
	if action != renew {
		q.forget(idsOf(leases)...)
	}
	return lost, nil
}

func idsOf(leases []Lease) []string {
	ids := make([]string, len(leases))
	for i, l := range leases {
		ids[i] = l.ID
	}
	return ids
}

// releaseAllBut releases the entries that this consumer took, except for those to keep.
func (q *retryQueue) releaseAllBut(ctx context.Context, release Release) error {
	queued, _ := q.split(release.Leases)
	kept := q.among(release.Keep)
	queued = slices.DeleteFunc(queued, func(l Lease) bool { return slices.Contains(release.Keep, l.ID) })
	_, failure := q.settle(ctx, free, queued)
	_, err := q.settle(ctx, renew, kept)
	return errors.Join(failure, err)
}
