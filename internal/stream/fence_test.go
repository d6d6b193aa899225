package stream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// owned is a stream with an owner "a", which has all kinds of entries.
type owned struct {
	client redis.UniversalClient
	key    string
	group  *stream.Group
	owner  *stream.Ownership

	pending []string // of a
	others  []string // of b, which does not run any more
	taken   string   // a took it from the retry queue
	queued  string   // it is due in the retry queue
	large   string   // pending for a; too large for a script
}

func newOwned(t *testing.T, client redis.UniversalClient) *owned {
	t.Helper()
	o := &owned{client: client, key: ownKey(t)}
	o.group = join(t, client, o.key, "a")
	o.owner = own(t, client, o.group, o.key, "a")
	useRetryQueue(t, o.key, o.group)
	ids := add(t, client, o.key, 4)
	fields := make([]any, 7000)
	for i := range fields {
		fields[i] = "x"
	}
	o.large = client.XAdd(t.Context(), &redis.XAddArgs{Stream: o.key, Values: fields}).Val()
	require.Len(t, read(t, o.group, 5), 5)
	results, err := o.group.Postpone(t.Context(), []stream.Postponement{postponement(ids[0], 0, 1)})
	require.NoError(t, err)
	require.Equal(t, []stream.PostponeResult{stream.Postponed}, results)
	require.Eventually(t, func() bool {
		taken, _, _ := takes(t, o.group, noLimit())
		return len(taken) == 1
	}, soon, time.Millisecond, "it is due")
	results, err = o.group.Postpone(t.Context(), []stream.Postponement{postponement(ids[1], 0, 1)})
	require.NoError(t, err)
	require.Equal(t, []stream.PostponeResult{stream.Postponed}, results)
	o.taken, o.queued, o.pending = ids[0], ids[1], ids[2:]
	b := join(t, client, o.key, "b")
	o.others = add(t, client, o.key, 2)
	require.Len(t, read(t, b, 2), 2)
	return o
}

func (o *owned) deadLetters() string { return "{" + o.key + "}:dead-letter" }

// snapshot is all that the calls of a consumer may change.
type snapshot struct {
	pending map[string]row
	stream  []redis.XMessage
	letters []redis.XMessage
	due     []redis.Z
	queue   map[string]string
	owner   map[string]string
}

func (o *owned) snapshot(t *testing.T) snapshot {
	t.Helper()
	queue := "{" + o.key + "}:retry:" + groupName
	state := snapshot{
		pending: pending(t, o.client, o.key),
		stream:  o.client.XRange(t.Context(), o.key, "-", "+").Val(),
		letters: o.client.XRange(t.Context(), o.deadLetters(), "-", "+").Val(),
		due:     o.client.ZRangeWithScores(t.Context(), queue, 0, -1).Val(),
		queue:   o.client.HGetAll(t.Context(), queue+":entries").Val(),
		owner:   o.client.HGetAll(t.Context(), ownerKey(o.key)).Val(),
	}
	require.NotEmpty(t, state.stream)
	require.NotEmpty(t, state.queue)
	return state
}

var errNothing = errors.New("the call had no effect")

func orNothing(did bool, err error) error {
	if err == nil && !did {
		return errNothing
	}
	return err
}

// calls are all calls that an owner makes, and others must not. A call without an effect is an error.
var calls = map[string]func(ctx context.Context, o *owned) error{
	"Ack":           func(ctx context.Context, o *owned) error { return o.group.Ack(ctx, o.pending) },
	"Ack, of queue": func(ctx context.Context, o *owned) error { return o.group.Ack(ctx, []string{o.taken}) },
	"RenewLeases": func(ctx context.Context, o *owned) error {
		lost, trimmed, err := o.group.RenewLeases(ctx, []stream.Lease{{ID: o.pending[0], Deliveries: 7}})
		return orNothing(len(lost)+len(trimmed) == 0, err)
	},
	"RenewLeases, of queue": func(ctx context.Context, o *owned) error {
		lost, trimmed, err := o.group.RenewLeases(ctx, []stream.Lease{{ID: o.taken, Deliveries: 7}})
		return orNothing(len(lost)+len(trimmed) == 0, err)
	},
	"Release": func(ctx context.Context, o *owned) error {
		_, err := o.group.Release(ctx, stream.Release{Leases: []stream.Lease{{ID: o.pending[0], Deliveries: 7}}})
		return err
	},
	"Release, of queue": func(ctx context.Context, o *owned) error {
		_, err := o.group.Release(ctx, stream.Release{Leases: []stream.Lease{{ID: o.taken, Deliveries: 7}}})
		return err
	},
	"Release, leaves": func(ctx context.Context, o *owned) error {
		_, err := o.group.Release(ctx, stream.Release{Remove: true, Leaves: true})
		return err
	},
	"Release, leaves and keeps": func(ctx context.Context, o *owned) error {
		_, err := o.group.Release(ctx, stream.Release{Keep: o.pending, Leaves: true})
		return err
	},
	"Claim": func(ctx context.Context, o *owned) error {
		rows := []stream.PendingEntry{{ID: o.others[0], Consumer: "b", Deliveries: 1}}
		claimed, err := o.group.Claim(ctx, stream.Claim{Rows: rows, Limit: all})
		return orNothing(len(claimed.Entries) == 1, err)
	},
	"DeadLetter": func(ctx context.Context, o *owned) error {
		result, err := o.group.DeadLetter(ctx, o.pending[0], stream.DeadLetterTarget{Stream: o.deadLetters()}, []any{"a", "b"})
		return orNothing(result == stream.DeadLetterMoved, err)
	},
	"DeadLetter, of queue": func(ctx context.Context, o *owned) error {
		result, err := o.group.DeadLetter(ctx, o.taken, stream.DeadLetterTarget{Stream: o.deadLetters()}, []any{"a", "b"})
		return orNothing(result == stream.DeadLetterMoved, err)
	},
	"DeadLetter, large": func(ctx context.Context, o *owned) error {
		result, err := o.group.DeadLetter(ctx, o.large, stream.DeadLetterTarget{Stream: o.deadLetters()}, []any{"a", "b"})
		return orNothing(result == stream.DeadLetterMoved, err)
	},
	"Postpone": func(ctx context.Context, o *owned) error {
		results, err := o.group.Postpone(ctx, []stream.Postponement{postponement(o.pending[0], time.Hour, 1)})
		return orNothing(len(results) == 1 && results[0] == stream.Postponed, err)
	},
	"TakeRetries": func(ctx context.Context, o *owned) error {
		entries, _, err := o.group.TakeRetries(ctx, noLimit())
		return orNothing(len(entries) > 0, err)
	},
	"HasForeign": func(ctx context.Context, o *owned) error { return orNothing(o.group.HasForeign(ctx)) },
	"Renew":      func(ctx context.Context, o *owned) error { return o.owner.Renew(ctx) },
	"Commit": func(ctx context.Context, o *owned) error {
		tx := stream.NewTransaction(o.client)
		tx.Incr(ctx, "{"+o.key+"}:committed")
		if err := tx.Prepare(o.key); err != nil {
			return err
		}
		result, err := o.group.Commit(ctx, o.pending[0], tx, false)
		if err == nil && result == stream.CommitNotHeld {
			err = stream.ErrNotOwner // its result is as if another consumer had the entry
		}
		return orNothing(result == stream.CommitDone, err)
	},
}

// Whoever was the owner changes nothing, whatever it does, and each call tells it.
func TestFence(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	for how, lose := range map[string]func(t *testing.T, o *owned){
		"replaced": func(t *testing.T, o *owned) {
			t.Helper()
			endLease(t, client, o.key)
			acquire(t, stream.NewOwnership(client, ownerKey(o.key), "c", longLease))
		},
		"acquired again": func(t *testing.T, o *owned) {
			t.Helper()
			acquire(t, stream.NewOwnership(client, ownerKey(o.key), "a", longLease))
		},
		"released": func(t *testing.T, o *owned) {
			t.Helper()
			require.NoError(t, o.owner.Release(t.Context()))
		},
		"key lost": func(t *testing.T, o *owned) {
			t.Helper()
			require.NoError(t, client.Del(t.Context(), ownerKey(o.key)).Err())
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o := newOwned(t, client)
			lose(t, o)
			before := o.snapshot(t)
			for name, call := range calls {
				if how == "released" && name == "Release, leaves" {
					continue // it is taken for the retry of a call whose reply was lost
				}
				err := call(t.Context(), o)
				require.ErrorIs(t, err, stream.ErrNotOwner, name)
				assert.True(t, stream.IsNotApplied(err), name)
				assert.False(t, stream.IsRetryable(err), name)
				assert.False(t, stream.IsGroupGone(err), name)
			}
			assert.Equal(t, before, o.snapshot(t))
			assert.Zero(t, client.Exists(t.Context(), "{"+o.key+"}:committed").Val())
			assert.Zero(t, o.owner.Left())
		})
	}
}

// An owner does all of it, also in a cluster, and also when its lease is over: while nobody replaces it.
func TestFence_ownerPasses(t *testing.T) {
	t.Parallel()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{redistest.StartCluster(t).Addr}})
	t.Cleanup(func() { _ = cluster.Close() })
	for server, client := range map[string]redis.UniversalClient{"one server": redistest.Shared().Client(t), "cluster": cluster} {
		for name, call := range calls {
			t.Run(server+", "+name, func(t *testing.T) {
				t.Parallel()
				o := newOwned(t, client)
				endLease(t, client, o.key)
				before := o.snapshot(t)
				require.NoError(t, call(t.Context(), o))
				if name != "HasForeign" {
					assert.NotEqual(t, before, o.snapshot(t))
				}
			})
		}
	}
}

// An earlier try of the commit may have been made: nobody knows.
func TestFence_uncertainCommit(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 1)
	own(t, client, a, key, "a")
	acquire(t, stream.NewOwnership(client, ownerKey(key), "a", longLease))
	tx := stream.NewTransaction(client)
	require.NoError(t, tx.Prepare(key))
	result, err := a.Commit(t.Context(), added[0], tx, true)
	assert.Equal(t, stream.CommitUncertain, result)
	require.ErrorIs(t, err, stream.ErrNotOwner)
}

// sent is a hook that runs a function after each command of a name.
type sent struct {
	roundTrips

	name  string
	after func()
}

func (s *sent) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, command)
		if command.Name() == s.name {
			s.n++
			s.after()
		}
		return err
	}
}

// A large entry is moved in a transaction of the client. What happens to the ownership after the
// check and before the transaction counts.
func TestFence_largeDeadLetter(t *testing.T) {
	t.Parallel()
	server := redistest.Shared()
	for name, test := range map[string]struct {
		meanwhile func(t *testing.T, o *owned, n int)
		checks    int
		letters   int64
		err       error
	}{
		"renewed": {func(t *testing.T, o *owned, n int) {
			t.Helper()
			if n <= 2 {
				require.NoError(t, o.owner.Renew(t.Context()))
			}
		}, 3, 1, nil},
		"renewed again and again": {func(t *testing.T, o *owned, _ int) {
			t.Helper()
			require.NoError(t, o.owner.Renew(t.Context()))
		}, 5, 0, redis.TxFailedErr},
		"replaced": {func(t *testing.T, o *owned, n int) {
			t.Helper()
			if n == 1 {
				endLease(t, o.client, o.key)
				acquire(t, stream.NewOwnership(o.client, ownerKey(o.key), "b", longLease))
			}
		}, 2, 0, stream.ErrNotOwner},
		"acquired again": {func(t *testing.T, o *owned, n int) {
			t.Helper()
			if n == 1 {
				acquire(t, stream.NewOwnership(o.client, ownerKey(o.key), "a", longLease))
			}
		}, 2, 0, stream.ErrNotOwner},
		"released": {func(t *testing.T, o *owned, n int) {
			t.Helper()
			if n == 1 {
				require.NoError(t, o.owner.Release(t.Context()))
			}
		}, 2, 0, stream.ErrNotOwner},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := server.Client(t)
			o := newOwned(t, client)
			hook := &sent{name: "hmget"}
			hook.after = func() { test.meanwhile(t, o, hook.n) }
			client.AddHook(hook)
			require.ErrorIs(t, calls["DeadLetter, large"](t.Context(), o), test.err)
			assert.Equal(t, test.checks, hook.n)
			assert.Equal(t, test.letters, client.XLen(t.Context(), o.deadLetters()).Val())
			_, isPending := pending(t, client, o.key)[o.large]
			assert.Equal(t, test.letters == 0, isPending)
		})
	}
}

// A consumer that owns nothing sends the commands that it always sent.
func TestFence_onlyOfOwners(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 2)
	scripts, acks := &sent{name: "evalsha", after: func() {}}, &sent{name: "xack", after: func() {}}
	client.AddHook(scripts)
	client.AddHook(acks)
	require.NoError(t, a.Ack(t.Context(), added[:1]))
	assert.Equal(t, 1, acks.n)
	assert.Zero(t, scripts.n)
	own(t, client, a, key, "a")
	scripts.n = 0
	require.NoError(t, a.Ack(t.Context(), added[1:]))
	assert.Equal(t, 1, acks.n)
	assert.Positive(t, scripts.n)
	assert.Empty(t, pending(t, client, key))
}
