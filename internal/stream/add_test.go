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

func TestFieldList_isSortedByName(t *testing.T) {
	t.Parallel()
	assert.Empty(t, stream.SortedFieldList(nil).Fields())
	assert.Equal(t, []any{"", 0, "a", 1, "b", 2, "c", 3}, stream.SortedFieldList(map[string]any{"c": 3, "a": 1, "": 0, "b": 2}).Fields())
}

func TestAdd_setsTheOutcomeOfEach(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	adder := stream.NewAdder(client, stream.ReplicaWait{})
	good := func() *stream.AddRequest { return &stream.AddRequest{Fields: stream.NewFieldList("a", "b")} }
	bad := func() *stream.AddRequest { return &stream.AddRequest{} }
	for name, requests := range map[string][]*stream.AddRequest{
		"one":                  {good()},
		"one that fails":       {bad()},
		"several":              {good(), good(), good()},
		"the first fails":      {bad(), good(), good()},
		"one in between fails": {good(), bad(), good()},
		"all fail":             {bad(), bad()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := ownKey(t)
			adder.Add(t.Context(), stream.NewKey(key), requests, new(stream.Pipeline))
			var added int64
			for _, request := range requests {
				if len(request.Fields.Fields()) > 0 {
					assert.NoError(t, request.Err)
					added++
				} else {
					assert.ErrorContains(t, request.Err, "wrong number of arguments")
					assert.True(t, stream.IsNotApplied(request.Err))
				}
			}
			assert.Equal(t, added, client.XLen(t.Context(), key).Val())
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
func (proto) RedisError()     {}
