package deadletters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manyFields returns an entry with n fields, f0 to f<n-1>, and no payload.
func manyFields(topic string, n int) *redis.XAddArgs {
	values := make([]string, 0, 2*n)
	for i := range n {
		values = append(values, fmt.Sprint("f", i), fmt.Sprint("v", i))
	}
	return &redis.XAddArgs{Stream: topic, Values: values}
}

// dataOf returns the field "data" of each entry of a stream.
func dataOf(b *fixture.Bench, topic string) (all []string) {
	b.Helper()
	entries, err := b.Client.XRange(b.Context(), topic, "-", "+").Result()
	require.NoError(b, err)
	for _, entry := range entries {
		all = append(all, entry.Values["data"].(string))
	}
	return all
}

// listDeadLetters returns the dead letters of the topic.
func listDeadLetters(b *fixture.Bench) (all []redisstream.DeadLetter) {
	b.Helper()
	for deadLetter, err := range redisstream.DeadLetters(b.Context(), b.Client, b.Topic) {
		require.NoError(b, err)
		all = append(all, deadLetter)
	}
	return all
}

func TestDeadLetters_list(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	assert.Empty(t, listDeadLetters(b))
	id := b.AddDeadLetter(b.Topic, "first")
	b.Do("XADD", redisstream.DeadLetterTopic(b.Topic), "*", "foreign", "letter")
	assert.Equal(t, []redisstream.DeadLetter{
		{
			ID: id, Reason: "because of first", Error: "no coffee", Stream: b.Topic, EntryID: "5-6", Group: "g", Consumer: "c",
			Deliveries: 7, Time: time.Date(2026, 11, 24, 12, 0, 0, 5, time.UTC), Fields: map[string]any{"data": "first"},
		},
		{ID: b.DeadLetters()[1].ID, Stream: b.Topic, Fields: map[string]any{"foreign": "letter"}},
	}, listDeadLetters(b))

	for deadLetter, err := range redisstream.DeadLetters(t.Context(), b.Client, b.Topic) {
		require.NoError(t, err)
		require.Equal(t, id, deadLetter.ID)
		break // a loop may end early
	}
	b.Do("SET", redisstream.DeadLetterTopic("string-"+b.Topic), "")
	for _, err := range redisstream.DeadLetters(t.Context(), b.Client, "string-"+b.Topic) {
		require.ErrorContains(t, err, "WRONGTYPE")
		require.ErrorContains(t, err, "string-"+b.Topic)
	}
}

// Pages are bounded by the number of dead letters and by their bytes.
func TestDeadLetters_pages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for i := range 350 {
		b.AddDeadLetter(b.Topic, fmt.Sprint(i))
	}
	large := strings.Repeat("x", 700<<10)
	for range 5 {
		b.AddDeadLetter(b.Topic, large)
	}
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	var page, most atomic.Int64
	proxy.OnSend(func(chunk []byte) (int, bool) {
		page.Store(0)
		return len(chunk), false
	})
	proxy.OnReply(func(chunk []byte) (int, bool) {
		most.Store(max(most.Load(), page.Add(int64(len(chunk)))))
		return len(chunk), false
	})
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr})
	t.Cleanup(func() { _ = client.Close() })
	n := 0
	for deadLetter, err := range redisstream.DeadLetters(t.Context(), client, b.Topic) {
		require.NoError(t, err)
		want := fmt.Sprint(n)
		if n >= 350 {
			want = large
		}
		require.Equal(t, want, deadLetter.Fields["data"])
		n++
		if n == 1 {
			b.AddDeadLetter(b.Topic, "newer dead letters are not listed")
		}
	}
	assert.Equal(t, 355, n)
	assert.Less(t, most.Load(), int64(3<<19), "a page has 1 MiB, or ends with the dead letter that exceeds it")
}

func TestDeadLetters_chooseByIDAndPredicate(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	var ids []string
	for i := range 10 {
		ids = append(ids, b.AddDeadLetter(b.Topic, fmt.Sprint(i)))
	}
	check := func(want int, moved int, err error) {
		t.Helper()
		require.NoError(t, err)
		assert.Equal(t, want, moved)
	}
	ctx := t.Context()
	moved, err := redisstream.ReplayDeadLettersByID(ctx, b.Client, b.Topic, ids[4], ids[2], "77-7", ids[4])
	check(2, moved, err)
	moved, err = redisstream.DropDeadLettersByID(ctx, b.Client, b.Topic, ids[4], ids[3], "77-7")
	check(1, moved, err)
	moved, err = redisstream.ReplayDeadLettersFunc(ctx, b.Client, b.Topic, func(l redisstream.DeadLetter) bool { return l.Fields["data"].(string) > "7" })
	check(2, moved, err)
	moved, err = redisstream.DropDeadLettersFunc(ctx, b.Client, b.Topic, func(l redisstream.DeadLetter) bool { return l.Fields["data"].(string) > "5" })
	check(2, moved, err)
	for _, limit := range []int{0, -1} {
		moved, err = redisstream.ReplayDeadLetters(ctx, b.Client, b.Topic, limit)
		check(0, moved, err)
	}
	assert.Equal(t, []string{"4", "2", "8", "9"}, dataOf(b, b.Topic))
	assert.Equal(t, []string{"0", "1", "5"}, dataOf(b, redisstream.DeadLetterTopic(b.Topic)))
	for _, id := range []string{"", "x", "1-x", "-", "18446744073709551616-0"} {
		_, err = redisstream.ReplayDeadLettersByID(ctx, b.Client, b.Topic, ids[0], id)
		require.ErrorContains(t, err, fmt.Sprintf("%q is not an entry's ID", id))
		_, err = redisstream.DropDeadLettersByID(ctx, b.Client, b.Topic, ids[0], id)
		require.ErrorContains(t, err, b.Topic)
	}
	assert.Len(t, b.DeadLetters(), 3, "a list with a wrong ID changes nothing")
}

// A dead letter without fields of its entry can't be replayed. It does not block others.
func TestReplayDeadLetters_deadLetterWithoutFields(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Do("XADD", redisstream.DeadLetterTopic(b.Topic), "*", redisstream.DeadLetterReasonKey, "none")
	b.AddDeadLetter(b.Topic, "1")
	moved, err := redisstream.ReplayDeadLetters(t.Context(), b.Client, b.Topic, 10)
	require.NoError(t, err)
	assert.Equal(t, 1, moved)
	assert.Equal(t, []string{"1"}, dataOf(b, b.Topic))
	require.Len(t, listDeadLetters(b), 1)
	assert.Equal(t, "none", listDeadLetters(b)[0].Reason)
}

// The topics "{orders}" and "orders" share a dead-letter stream. Each gets only its own dead
// letters back.
func TestDeadLetters_ofTwoTopicsInOneStream(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	other := "{" + b.Topic + "}"
	require.Equal(t, redisstream.DeadLetterTopic(b.Topic), redisstream.DeadLetterTopic(other))
	var ids []string
	for i := range 5 {
		b.AddDeadLetter(b.Topic, fmt.Sprint(i))
		ids = append(ids, b.AddDeadLetter(other, fmt.Sprint("other-", i)))
	}
	assert.Len(t, listDeadLetters(b), 5)
	moved, err := redisstream.ReplayDeadLetters(t.Context(), b.Client, b.Topic, 3)
	require.NoError(t, err)
	assert.Equal(t, 3, moved)
	moved, err = redisstream.ReplayDeadLettersByID(t.Context(), b.Client, b.Topic, ids...)
	require.NoError(t, err)
	assert.Zero(t, moved)
	moved, err = redisstream.DropDeadLettersByID(t.Context(), b.Client, b.Topic, ids...)
	require.NoError(t, err)
	assert.Zero(t, moved)
	moved, err = redisstream.DropDeadLettersFunc(t.Context(), b.Client, other, func(redisstream.DeadLetter) bool { return true })
	require.NoError(t, err)
	assert.Equal(t, 5, moved)
	moved, err = redisstream.ReplayDeadLetters(t.Context(), b.Client, b.Topic, 10)
	require.NoError(t, err)
	assert.Equal(t, 2, moved)
	assert.Equal(t, fixture.Payloads(5), dataOf(b, b.Topic))
	assert.Zero(t, b.Client.Exists(t.Context(), other).Val())
	assert.Empty(t, b.DeadLetters())
}

// An entry with more fields than a script can pass on is dead-lettered and replayed with all
// fields, in order.
func TestDeadLetter_thousandsOfFields(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	for _, n := range []int{3480, 3500, 4000, 20_000} {
		entry := manyFields(b.Topic, n)
		entry.Values = append(entry.Values.([]string), "f0", "again")
		require.NoError(t, b.Client.XAdd(t.Context(), entry).Err())
		b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 1 && b.Pending() == 0 })
		assert.Equal(t, n+7, len(b.DeadLetters()[0].Values)) //nolint:testifylint // would print them
		assert.Equal(t, b.Topic, b.DeadLetters()[0].Values[redisstream.DeadLetterStreamKey])
		require.NoError(t, b.Client.Del(t.Context(), b.Topic).Err())
		moved, err := redisstream.ReplayDeadLetters(t.Context(), b.Client, b.Topic, 10)
		require.NoError(t, err)
		assert.Equal(t, 1, moved)
		values, err := b.Client.Do(t.Context(), "xrange", b.Topic, "-", "+").Slice()
		require.NoError(t, err)
		require.Len(t, values, 1)
		fields := values[0].([]any)[1].([]any)
		assert.Equal(t, entry.Values, texts(fields))
		b.Eventually("dead-lettered again", func() bool { return len(b.DeadLetters()) == 1 && b.Pending() == 0 })
		dropped, err := redisstream.DropDeadLettersByID(t.Context(), b.Client, b.Topic, b.DeadLetters()[0].ID)
		require.NoError(t, err)
		assert.Equal(t, 1, dropped)
	}
	b.Publish(1)
	assert.Equal(t, fixture.Payloads(1), fixture.ReceiveAll(t, messages, 1))
}

func texts(values []any) []string {
	list := make([]string, len(values))
	for i, value := range values {
		list[i] = value.(string)
	}
	return list
}

// A failed command in a transaction does not stop the others. Even so, nothing is lost.
func TestDeadLetter_thousandsOfFieldsThatCannotBeAdded(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	deadLetterTopic := redisstream.DeadLetterTopic(b.Topic)
	for name, spoil := range map[string]func(){
		"a string":        func() { b.Do("SET", deadLetterTopic, "") },
		"no ID left over": func() { b.Do("XADD", deadLetterTopic, "18446744073709551615-18446744073709551615", "data", "") },
	} {
		b.Do("DEL", b.Topic, deadLetterTopic)
		spoil()
		subscriber, _ := b.Subscribe(fixture.GroupConfig())
		require.NoError(t, b.Client.XAdd(t.Context(), manyFields(b.Topic, 5000)).Err())
		b.Eventually("read", func() bool { return b.Pending() == 1 })
		require.NoError(t, subscriber.Close())
		assert.EqualValues(t, 1, b.Pending(), name)

		b.Do("DEL", deadLetterTopic)
		b.Do("RENAME", b.Topic, deadLetterTopic)
		b.Do("XGROUP", "DESTROY", deadLetterTopic, "g")
		if name == "a string" {
			b.Do("SET", b.Topic, "")
		} else {
			b.Do("XADD", b.Topic, "18446744073709551615-18446744073709551615", "data", "")
		}
		moved, err := redisstream.ReplayDeadLetters(t.Context(), b.Client, b.Topic, 1)
		require.Error(t, err, name)
		assert.Zero(t, moved)
		assert.Len(t, b.DeadLetters(), 1, name)
	}
}

func TestDeadLetter_maxLen(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	config := fixture.GroupConfig()
	config.DeadLetterMaxLen = 150
	for range 1000 {
		b.AddDeadLetter(b.Topic, "older")
	}
	b.Subscribe(config)
	require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"foreign", "entry"}}).Err())
	b.Eventually("capped", func() bool { return len(b.DeadLetters()) <= 250 })
	assert.GreaterOrEqual(t, len(b.DeadLetters()), 150)
	assert.Equal(t, "entry", b.DeadLetters()[len(b.DeadLetters())-1].Values["foreign"])
	for range 1000 {
		b.AddDeadLetter(b.Topic, "older")
	}
	require.NoError(t, b.Client.XAdd(t.Context(), manyFields(b.Topic, 4000)).Err())
	b.Eventually("capped", func() bool { return len(b.DeadLetters()) <= 250 })

	config.Client, config.DeadLetterMaxLen = b.Client, -1
	_, err := redisstream.NewSubscriber(config, nil)
	require.ErrorIs(t, err, redisstream.ErrInvalidConfig)
	require.ErrorContains(t, err, "DeadLetterMaxLen")
}

// Every third reply is lost. Dead letters that were moved are counted all the same, and none is
// moved twice.
func TestDeadLetters_countWhenRepliesAreCut(t *testing.T) {
	t.Parallel()
	const total = 60
	for name, settle := range map[string]func(context.Context, *fixture.Bench, redis.UniversalClient) (int, error){
		"replay": func(ctx context.Context, b *fixture.Bench, client redis.UniversalClient) (int, error) {
			return redisstream.ReplayDeadLetters(ctx, client, b.Topic, 1000)
		},
		"drop": func(ctx context.Context, b *fixture.Bench, client redis.UniversalClient) (int, error) {
			return redisstream.DropDeadLettersFunc(ctx, client, b.Topic, func(redisstream.DeadLetter) bool { return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			for i := range total {
				b.AddDeadLetter(b.Topic, fmt.Sprint(i))
			}
			proxy := redistest.NewProxy(t, b.Server.Addr, 0)
			var settled, cut atomic.Int64
			proxy.OnReply(func(chunk []byte) (int, bool) {
				if bytes.Equal(chunk, []byte(":1\r\n")) && settled.Add(1)%3 == 0 {
					cut.Add(1)
					return 0, true
				}
				return len(chunk), false
			})
			client := redis.NewClient(&redis.Options{Addr: proxy.Addr, PoolSize: 1})
			t.Cleanup(func() { _ = client.Close() })
			n, err := settle(t.Context(), b, client)
			require.NoError(t, err)
			assert.Equal(t, total, n)
			assert.Positive(t, cut.Load())
			assert.Empty(t, b.DeadLetters())
			if name == "replay" {
				assert.Equal(t, fixture.Payloads(total), dataOf(b, b.Topic))
			}
		})
	}
}

// A replay ends when its context ends.
func TestReplayDeadLetters_endsWithItsContext(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for i := range 3 {
		b.AddDeadLetter(b.Topic, fmt.Sprint(i))
	}
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	moved, err := redisstream.ReplayDeadLettersFunc(ctx, b.Client, b.Topic, func(l redisstream.DeadLetter) bool {
		if l.Fields["data"] == "1" {
			cancel(errEnough)
		}
		return true
	})
	require.Error(t, err)
	assert.Equal(t, 1, moved)
	assert.Len(t, b.DeadLetters(), 2)
}

// Replicas may lag behind, so dead letters are read from the master, whatever the client's options.
func TestReplayDeadLetters_readsFromTheMaster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartFullCluster(t)
	for name, change := range map[string]func(*redis.ClusterOptions){
		"ReadOnly": func(o *redis.ClusterOptions) { o.ReadOnly = true },
		// RouteByLatency is not tested: go-redis 9.23 has a data race when it creates such a
		// client.
		"RouteRandomly": func(o *redis.ClusterOptions) { o.RouteRandomly = true },
	} {
		options := &redis.ClusterOptions{Addrs: []string{cluster.Nodes[0].Addr}}
		change(options)
		client := redis.NewClusterClient(options)
		t.Cleanup(func() { _ = client.Close() })
		topic := fixture.NewTopic(t)
		deadLetter := manyFields(redisstream.DeadLetterTopic(topic), 4000)
		require.NoError(t, client.XAdd(t.Context(), deadLetter).Err())
		for range 20 {
			require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: deadLetter.Stream, Values: []string{"n", "1"}}).Err())
		}
		listed := 0
		for _, err := range redisstream.DeadLetters(t.Context(), client, topic) {
			require.NoError(t, err)
			listed++
		}
		assert.Equal(t, 21, listed, name)
		moved, err := redisstream.ReplayDeadLetters(t.Context(), client, topic, 100)
		require.NoError(t, err, name)
		assert.Equal(t, 21, moved, name)
	}
	for _, node := range cluster.Nodes[3:] {
		stats := node.Client(t).Info(t.Context(), "commandstats").Val()
		read := slices.ContainsFunc([]string{"xrange", "xrevrange", "eval", "evalsha"}, func(command string) bool {
			return strings.Contains(stats, "cmdstat_"+command+":")
		})
		assert.False(t, read, "dead letters are read from the master")
	}
}
