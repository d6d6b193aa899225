package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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

func TestErrorClasses(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	require.NoError(t, client.Set(t.Context(), key, "", 0).Err())
	closed := redis.NewClient(&redis.Options{Addr: redistest.Shared().Addr})
	require.NoError(t, closed.Close())
	nobody := redistest.Shared().Client(t, func(o *redis.Options) { o.Addr, o.DialerRetries = "127.0.0.1:1", 1 })
	small := redistest.Shared().Client(t, func(o *redis.Options) { o.PoolSize, o.PoolTimeout, o.PipelinePoolSize = 1, time.Millisecond, -1 })
	only := small.Conn()
	require.NoError(t, only.Ping(t.Context()).Err())
	t.Cleanup(func() { require.NoError(t, only.Close()) })
	fails := func(client *redis.Client) error {
		requests := []*stream.AddRequest{{Fields: stream.NewFieldList("a", "b")}}
		stream.NewAdder(client, stream.ReplicaWait{}).Add(context.Background(), stream.NewKey(key), requests, new(stream.Pipeline))
		require.Error(t, requests[0].Err)
		return requests[0].Err
	}
	for name, test := range map[string]struct {
		err                     error
		notApplied, isRetryable bool
	}{
		"refused by the server":          {fails(client), true, false},
		"refused by the server, wrapped": {fmt.Errorf("wrapped: %w", fails(client)), true, false},
		"starting":                       {proto("LOADING Redis is loading the dataset in memory"), true, true},
		"too many connections":           {proto("ERR max number of clients reached"), true, true},
		"out of memory":                  {proto("OOM command not allowed"), true, false},
		"closed client":                  {fails(closed), true, false},
		"nobody listens":                 {fails(nobody), true, true},
		"no connection was free":         {fails(small), true, true},
		"none":                           {nil, false, false},
		"connection closed":              {io.EOF, false, false},
		"connection closed in a reply":   {io.ErrUnexpectedEOF, false, false},
		"no reply in time":               {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, false, false},
		"could not send all":             {&net.OpError{Op: "write", Err: syscall.EPIPE}, false, false},
		"context cancelled":              {context.Canceled, false, false},
		"deadline":                       {context.DeadlineExceeded, false, false},
		"socket closed":                  {net.ErrClosed, false, false},
		"anything else":                  {errors.New("ERR looks like the server's"), false, false},
	} {
		assert.Equal(t, test.notApplied, stream.IsNotApplied(test.err), "%s: %v", name, test.err)
		assert.Equal(t, test.isRetryable, stream.IsRetryable(test.err), "%s: %v", name, test.err)
	}
}

// proto is an error of the server.
type proto string

func (e proto) Error() string { return string(e) }

func (proto) RedisError() {}

func TestDiscreet(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	err := client.Do(t.Context(), "xadd2", "orders", "*", "payload", "secret").Err()
	require.ErrorContains(t, err, "secret", "servers do that")
	err = stream.Redact(err)
	require.ErrorContains(t, err, "unknown command 'xadd2'")
	assert.NotContains(t, err.Error(), "secret")
	assert.True(t, stream.IsNotApplied(err), "it is still an error of the server")
	require.NoError(t, stream.Redact(nil))
	assert.Equal(t, context.Canceled, stream.Redact(context.Canceled))
}
