package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroup_handsOutEachEntryToOneConsumer(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	added := add(t, client, key, 5)
	a, b := join(t, client, key, "a"), join(t, client, key, "b")
	first := read(t, a, 3)
	second := read(t, b, 3)
	assert.Equal(t, added[:3], ids(first))
	assert.Equal(t, added[3:], ids(second))
	assert.Empty(t, read(t, a, 3), "none and no error")
	assert.Equal(t, stream.NewFields("n", "0"), first[0].Fields)
	assert.EqualValues(t, 1, first[0].Deliveries)

	status, err := a.GroupInfo(t.Context())
	require.NoError(t, err)
	assert.Equal(t, stream.GroupInfo{Pending: 5, LastDelivered: added[4], Read: 5}, status)

	require.NoError(t, a.Ack(t.Context(), append(added[:2:2], "1-1")), "what is not pending is ignored")
	status, err = b.GroupInfo(t.Context())
	require.NoError(t, err)
	assert.Equal(t, stream.GroupInfo{Pending: 3, LastDelivered: added[4], Read: 5}, status)
}

func TestGroup_createLeavesAnExistingGroupAlone(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, _, _ := handedOut(t, client, 2)
	require.NoError(t, group.Join(t.Context(), "0"))
	assert.Empty(t, read(t, group, 10), "it did not start anew")
}

func TestGroup_createStartsWhereItIsTold(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	added := add(t, client, key, 3)
	for start, want := range map[string][]string{"0": added, "$": {}, added[1]: added[2:]} {
		require.NoError(t, stream.CreateGroup(t.Context(), client, key, "from "+start, start))
		group := stream.NewGroup(client, key, "from "+start, "a")
		t.Cleanup(group.Close)
		assert.Equal(t, want, ids(read(t, group, 10)), start)
	}
}

func TestGroup_noAckLeavesNothingPending(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	added := add(t, client, key, 3)
	group := join(t, client, key, "a")
	group.NoAck = true
	assert.Equal(t, added, ids(read(t, group, 10)))
	assert.Empty(t, pending(t, client, key))
	assert.Empty(t, read(t, group, 10))
}

func TestGroup_pendingPages(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	a, key, added := handedOut(t, client, 4)
	b := join(t, client, key, "b")
	more := add(t, client, key, 2)
	require.Len(t, read(t, b, 2), 2)
	pretendIdle(t, client, key, "a", added[1], added[3])

	list := func(page stream.Page) []string {
		rows, err := a.Pending(t.Context(), page)
		require.NoError(t, err)
		var found []string
		for _, row := range rows {
			found = append(found, row.ID)
		}
		return found
	}
	assert.Equal(t, append(added[:4:4], more...), list(stream.Page{From: "-", Count: 10}))
	assert.Equal(t, added[:2], list(stream.Page{From: "-", Count: 2}))
	assert.Equal(t, added[2:4], list(stream.Page{From: stream.After(added[1]), Count: 2}), "the next page")
	assert.Equal(t, added, list(stream.Page{From: "-", Count: 10, Own: true}))
	assert.Equal(t, []string{added[1], added[3]}, list(stream.Page{From: "-", Count: 10, Idle: time.Minute}))
	assert.Empty(t, list(stream.Page{From: stream.After(more[1]), Count: 10}))
}

func TestIsGroupGone(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	calls := map[string]func(*stream.Group) error{
		"Read": func(g *stream.Group) error {
			_, err := g.Read(context.Background(), stream.Limit{Count: 1}, time.Millisecond)
			return err
		},
		"Status": func(g *stream.Group) error {
			_, err := g.GroupInfo(context.Background())
			return err
		},
		"Pending": func(g *stream.Group) error {
			_, err := g.Pending(context.Background(), stream.Page{From: "-", Count: 1})
			return err
		},
		"Claim": func(g *stream.Group) error {
			_, err := g.Claim(context.Background(), stream.Claim{Limit: all, Rows: []stream.PendingEntry{{ID: "1-0", Consumer: "b"}}})
			return err
		},
		"Hold": func(g *stream.Group) error {
			_, _, err := g.RenewLeases(context.Background(), []stream.Lease{{ID: "1-0", Deliveries: 1}})
			return err
		},
		"Release": func(g *stream.Group) error {
			_, err := g.Release(context.Background(), stream.Release{Remove: true})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := ownKey(t)
			group := stream.NewGroup(client, key, groupName, "a")
			t.Cleanup(group.Close)
			err := call(group)
			assert.True(t, stream.IsGroupGone(err), "no stream: %v", err)
			add(t, client, key, 1)
			err = call(group)
			assert.True(t, stream.IsGroupGone(err), "no group: %v", err)
			assert.True(t, stream.IsGroupGone(fmt.Errorf("wrapped: %w", err)))
			require.NoError(t, group.Join(t.Context(), "0"))
			assert.NoError(t, call(group))
			require.NoError(t, client.Set(t.Context(), key, "", 0).Err())
			err = call(group)
			assert.ErrorContains(t, err, "WRONGTYPE")
			assert.False(t, stream.IsGroupGone(err))
		})
	}
	for _, err := range []error{nil, io.EOF, redis.Nil, context.Canceled, errors.New("NOGROUP says somebody else")} {
		assert.False(t, stream.IsGroupGone(err), "%v", err)
	}
}

func TestIsGroupGone_whenItGoesWhileAReadIsBlocked(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(ctx context.Context, client *redis.Client, key string) error{
		"XGROUP DESTROY": func(ctx context.Context, client *redis.Client, key string) error {
			return client.XGroupDestroy(ctx, key, groupName).Err()
		},
		"DEL":      func(ctx context.Context, client *redis.Client, key string) error { return client.Del(ctx, key).Err() },
		"FLUSHALL": func(ctx context.Context, client *redis.Client, _ string) error { return client.FlushAll(ctx).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := redistest.Start(t).Client(t)
			group := join(t, client, "stream", "a")
			failed := make(chan error, 1)
			go func() {
				_, err := group.Read(context.Background(), stream.Limit{Count: 1}, time.Minute)
				failed <- err
			}()
			awaitBlocked(t, client, 1)
			require.NoError(t, remove(t.Context(), client, "stream"))
			err := redistest.Within(t, "Read", failed)
			assert.True(t, stream.IsGroupGone(err), "%v", err)
		})
	}
}
