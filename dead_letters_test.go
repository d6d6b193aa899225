package redisstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manyFields is an entry with n fields, f0 to f<n-1>, and no payload.
func manyFields(topic string, n int) *redis.XAddArgs {
	values := make([]string, 0, 2*n)
	for i := range n {
		values = append(values, fmt.Sprint("f", i), fmt.Sprint("v", i))
	}
	return &redis.XAddArgs{Stream: topic, Values: values}
}

// letter adds a dead letter of a topic, with the field "data".
func (b *bench) letter(topic, data string) (id string) {
	b.Helper()
	id, err := b.client.XAdd(b.Context(), &redis.XAddArgs{Stream: redisstream.DeadLetterTopic(topic), Values: []string{
		"data", data,
		redisstream.DeadLetterReasonKey, "because of " + data, redisstream.DeadLetterStreamKey, topic, redisstream.DeadLetterIDKey, "5-6",
		redisstream.DeadLetterGroupKey, "g", redisstream.DeadLetterConsumerKey, "c", redisstream.DeadLetterDeliveriesKey, "7",
		redisstream.DeadLetterTimeKey, "2026-11-24T12:00:00.000000005Z", "_dead_letter_error", "no coffee",
	}}).Result()
	require.NoError(b, err)
	return id
}

// data returns the field "data" of the entries of a stream.
func (b *bench) data(topic string) (all []string) {
	b.Helper()
	entries, err := b.client.XRange(b.Context(), topic, "-", "+").Result()
	require.NoError(b, err)
	for _, entry := range entries {
		all = append(all, entry.Values["data"].(string))
	}
	return all
}

// list returns the dead letters of the bench's topic.
func (b *bench) list() (all []redisstream.DeadLetter) {
	b.Helper()
	for letter, err := range redisstream.DeadLetters(b.Context(), b.client, b.topic) {
		require.NoError(b, err)
		all = append(all, letter)
	}
	return all
}

func TestDeadLetters_list(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	assert.Empty(t, b.list())
	id := b.letter(b.topic, "first")
	b.do("XADD", redisstream.DeadLetterTopic(b.topic), "*", "foreign", "letter")
	assert.Equal(t, []redisstream.DeadLetter{
		{
			ID: id, Reason: "because of first", Error: "no coffee", Stream: b.topic, EntryID: "5-6", Group: "g", Consumer: "c",
			Deliveries: 7, Time: time.Date(2026, 11, 24, 12, 0, 0, 5, time.UTC), Fields: map[string]any{"data": "first"},
		},
		{ID: b.letters()[1].ID, Fields: map[string]any{"foreign": "letter"}},
	}, b.list())

	for letter, err := range redisstream.DeadLetters(t.Context(), b.client, b.topic) {
		require.NoError(t, err)
		require.Equal(t, id, letter.ID)
		break // at any time
	}
	b.do("SET", redisstream.DeadLetterTopic("string-"+b.topic), "")
	for _, err := range redisstream.DeadLetters(t.Context(), b.client, "string-"+b.topic) {
		require.ErrorContains(t, err, "WRONGTYPE")
		require.ErrorContains(t, err, "string-"+b.topic)
	}
}

// Pages are bounded in letters and bytes.
func TestDeadLetters_pages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 350 {
		b.letter(b.topic, fmt.Sprint(i))
	}
	large := strings.Repeat("x", 700<<10)
	for range 5 {
		b.letter(b.topic, large)
	}
	proxy := redistest.NewProxy(t, b.server.Addr, 0)
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
	for letter, err := range redisstream.DeadLetters(t.Context(), client, b.topic) {
		require.NoError(t, err)
		want := fmt.Sprint(n)
		if n >= 350 {
			want = large
		}
		require.Equal(t, want, letter.Fields["data"])
		n++
		if n == 1 {
			b.letter(b.topic, "what comes meanwhile is left out")
		}
	}
	assert.Equal(t, 355, n)
	assert.Less(t, most.Load(), int64(3<<19), "a page has 1 MiB, or ends with the letter that exceeds it")
}

func TestDeadLetters_chooseByIDAndPredicate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ids []string
	for i := range 10 {
		ids = append(ids, b.letter(b.topic, fmt.Sprint(i)))
	}
	check := func(want int, moved int, err error) {
		t.Helper()
		require.NoError(t, err)
		assert.Equal(t, want, moved)
	}
	ctx := t.Context()
	moved, err := redisstream.ReplayDeadLettersByID(ctx, b.client, b.topic, ids[4], ids[2], "77-7", ids[4])
	check(2, moved, err)
	moved, err = redisstream.DropDeadLettersByID(ctx, b.client, b.topic, ids[4], ids[3], "77-7")
	check(1, moved, err)
	moved, err = redisstream.ReplayDeadLettersFunc(ctx, b.client, b.topic, func(l redisstream.DeadLetter) bool { return l.Fields["data"].(string) > "7" })
	check(2, moved, err)
	moved, err = redisstream.DropDeadLettersFunc(ctx, b.client, b.topic, func(l redisstream.DeadLetter) bool { return l.Fields["data"].(string) > "5" })
	check(2, moved, err)
	for _, limit := range []int{0, -1} {
		moved, err = redisstream.ReplayDeadLetters(ctx, b.client, b.topic, limit)
		check(0, moved, err)
	}
	assert.Equal(t, []string{"4", "2", "8", "9"}, b.data(b.topic))
	assert.Equal(t, []string{"0", "1", "5"}, b.data(redisstream.DeadLetterTopic(b.topic)))
	for _, id := range []string{"", "x", "1-x", "-", "18446744073709551616-0"} {
		_, err = redisstream.ReplayDeadLettersByID(ctx, b.client, b.topic, ids[0], id)
		require.ErrorContains(t, err, fmt.Sprintf("%q is not an entry's ID", id))
		_, err = redisstream.DropDeadLettersByID(ctx, b.client, b.topic, ids[0], id)
		require.ErrorContains(t, err, b.topic)
	}
	assert.Len(t, b.letters(), 3, "nothing is done for a list with a wrong ID")
}

// A letter that has no field of its entry can't be an entry again. It is in nobody's way.
func TestReplayDeadLetters_letterWithoutFields(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("XADD", redisstream.DeadLetterTopic(b.topic), "*", redisstream.DeadLetterReasonKey, "none")
	b.letter(b.topic, "1")
	moved, err := redisstream.ReplayDeadLetters(t.Context(), b.client, b.topic, 10)
	require.NoError(t, err)
	assert.Equal(t, 1, moved)
	assert.Equal(t, []string{"1"}, b.data(b.topic))
	require.Len(t, b.list(), 1)
	assert.Equal(t, "none", b.list()[0].Reason)
}

// "{orders}" and "orders" have one dead-letter stream. Each gets back its own.
func TestDeadLetters_ofTwoTopicsInOneStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := "{" + b.topic + "}"
	require.Equal(t, redisstream.DeadLetterTopic(b.topic), redisstream.DeadLetterTopic(other))
	var ids []string
	for i := range 5 {
		b.letter(b.topic, fmt.Sprint(i))
		ids = append(ids, b.letter(other, fmt.Sprint("other-", i)))
	}
	assert.Len(t, b.list(), 5)
	moved, err := redisstream.ReplayDeadLetters(t.Context(), b.client, b.topic, 3)
	require.NoError(t, err)
	assert.Equal(t, 3, moved)
	moved, err = redisstream.ReplayDeadLettersByID(t.Context(), b.client, b.topic, ids...)
	require.NoError(t, err)
	assert.Zero(t, moved)
	moved, err = redisstream.DropDeadLettersByID(t.Context(), b.client, b.topic, ids...)
	require.NoError(t, err)
	assert.Zero(t, moved)
	moved, err = redisstream.DropDeadLettersFunc(t.Context(), b.client, other, func(redisstream.DeadLetter) bool { return true })
	require.NoError(t, err)
	assert.Equal(t, 5, moved)
	moved, err = redisstream.ReplayDeadLetters(t.Context(), b.client, b.topic, 10)
	require.NoError(t, err)
	assert.Equal(t, 2, moved)
	assert.Equal(t, upTo(5), b.data(b.topic))
	assert.Zero(t, b.client.Exists(t.Context(), other).Val())
	assert.Empty(t, b.letters())
}

// What has more fields than a script can pass on is moved whole, in order, there and back.
func TestDeadLetter_thousandsOfFields(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, messages := b.subscribe(inGroupG())
	for _, n := range []int{3480, 3500, 4000, 20_000} {
		entry := manyFields(b.topic, n)
		entry.Values = append(entry.Values.([]string), "f0", "again")
		require.NoError(t, b.client.XAdd(t.Context(), entry).Err())
		b.eventually("dead-lettered", func() bool { return len(b.letters()) == 1 && b.pending() == 0 })
		assert.Equal(t, n+7, len(b.letters()[0].Values)) //nolint:testifylint // would print them
		assert.Equal(t, b.topic, b.letters()[0].Values[redisstream.DeadLetterStreamKey])
		require.NoError(t, b.client.Del(t.Context(), b.topic).Err())
		moved, err := redisstream.ReplayDeadLetters(t.Context(), b.client, b.topic, 10)
		require.NoError(t, err)
		assert.Equal(t, 1, moved)
		values, err := b.client.Do(t.Context(), "xrange", b.topic, "-", "+").Slice()
		require.NoError(t, err)
		require.Len(t, values, 1)
		fields := values[0].([]any)[1].([]any)
		assert.Equal(t, entry.Values, texts(fields))
		b.eventually("dead-lettered again", func() bool { return len(b.letters()) == 1 && b.pending() == 0 })
		dropped, err := redisstream.DropDeadLettersByID(t.Context(), b.client, b.topic, b.letters()[0].ID)
		require.NoError(t, err)
		assert.Equal(t, 1, dropped)
	}
	b.publish(1)
	assert.Equal(t, upTo(1), receiveAll(t, messages, 1))
}

func texts(values []any) []string {
	list := make([]string, len(values))
	for i, value := range values {
		list[i] = value.(string)
	}
	return list
}

// A transaction goes on when a command in it fails; nothing is lost in it.
func TestDeadLetter_thousandsOfFieldsThatCannotBeAdded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	letters := redisstream.DeadLetterTopic(b.topic)
	for name, spoil := range map[string]func(){
		"a string":        func() { b.do("SET", letters, "") },
		"no ID left over": func() { b.do("XADD", letters, "18446744073709551615-18446744073709551615", "data", "") },
	} {
		b.do("DEL", b.topic, letters)
		spoil()
		subscriber, _ := b.subscribe(inGroupG())
		require.NoError(t, b.client.XAdd(t.Context(), manyFields(b.topic, 5000)).Err())
		b.eventually("read", func() bool { return b.pending() == 1 })
		require.NoError(t, subscriber.Close())
		assert.EqualValues(t, 1, b.pending(), name)

		b.do("DEL", letters)
		b.do("RENAME", b.topic, letters)
		b.do("XGROUP", "DESTROY", letters, "g")
		if name == "a string" {
			b.do("SET", b.topic, "")
		} else {
			b.do("XADD", b.topic, "18446744073709551615-18446744073709551615", "data", "")
		}
		moved, err := redisstream.ReplayDeadLetters(t.Context(), b.client, b.topic, 1)
		require.Error(t, err, name)
		assert.Zero(t, moved)
		assert.Len(t, b.letters(), 1, name)
	}
}

func TestDeadLetter_maxLen(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	config := inGroupG()
	config.DeadLetterMaxLen = 150
	for range 1000 {
		b.letter(b.topic, "older")
	}
	b.subscribe(config)
	require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"foreign", "entry"}}).Err())
	b.eventually("capped", func() bool { return len(b.letters()) <= 250 })
	assert.GreaterOrEqual(t, len(b.letters()), 150)
	assert.Equal(t, "entry", b.letters()[len(b.letters())-1].Values["foreign"])
	for range 1000 {
		b.letter(b.topic, "older")
	}
	require.NoError(t, b.client.XAdd(t.Context(), manyFields(b.topic, 4000)).Err())
	b.eventually("capped", func() bool { return len(b.letters()) <= 250 })

	config.Client, config.DeadLetterMaxLen = b.client, -1
	_, err := redisstream.NewSubscriber(config, nil)
	require.ErrorIs(t, err, redisstream.ErrInvalidConfig)
	require.ErrorContains(t, err, "DeadLetterMaxLen")
}

// Every third reply is cut off. What is moved all the same is counted, and nothing comes twice.
func TestDeadLetters_countWhenRepliesAreCut(t *testing.T) {
	t.Parallel()
	const total = 60
	for name, settle := range map[string]func(context.Context, *bench, redis.UniversalClient) (int, error){
		"replay": func(ctx context.Context, b *bench, client redis.UniversalClient) (int, error) {
			return redisstream.ReplayDeadLetters(ctx, client, b.topic, 1000)
		},
		"drop": func(ctx context.Context, b *bench, client redis.UniversalClient) (int, error) {
			return redisstream.DropDeadLettersFunc(ctx, client, b.topic, func(redisstream.DeadLetter) bool { return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			for i := range total {
				b.letter(b.topic, fmt.Sprint(i))
			}
			proxy := redistest.NewProxy(t, b.server.Addr, 0)
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
			assert.Empty(t, b.letters())
			if name == "replay" {
				assert.Equal(t, upTo(total), b.data(b.topic))
			}
		})
	}
}

// A replay ends with its context.
func TestReplayDeadLetters_endsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 3 {
		b.letter(b.topic, fmt.Sprint(i))
	}
	errEnough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	moved, err := redisstream.ReplayDeadLettersFunc(ctx, b.client, b.topic, func(l redisstream.DeadLetter) bool {
		if l.Fields["data"] == "1" {
			cancel(errEnough)
		}
		return true
	})
	require.Error(t, err)
	assert.Equal(t, 1, moved)
	assert.Len(t, b.letters(), 2)
}

// Replicas may be behind: letters are read from the master, whatever the client does.
func TestReplayDeadLetters_readsFromTheMaster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartFullCluster(t)
	for name, change := range map[string]func(*redis.ClusterOptions){
		"ReadOnly": func(o *redis.ClusterOptions) { o.ReadOnly = true },
		// Not RouteByLatency: go-redis 9.23 races with itself when it makes such a client.
		"RouteRandomly": func(o *redis.ClusterOptions) { o.RouteRandomly = true },
	} {
		options := &redis.ClusterOptions{Addrs: []string{cluster.Nodes[0].Addr}}
		change(options)
		client := redis.NewClusterClient(options)
		t.Cleanup(func() { _ = client.Close() })
		topic := ownTopic(t)
		letter := manyFields(redisstream.DeadLetterTopic(topic), 4000)
		require.NoError(t, client.XAdd(t.Context(), letter).Err())
		for range 20 {
			require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: letter.Stream, Values: []string{"n", "1"}}).Err())
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
		assert.False(t, read, "a replica was asked")
	}
}

// What the README says that listing and dropping need, and each of it is said when it is missing.
func TestACL_dropper(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	rights := []string{"+ping", "+eval", "+evalsha", "+xrange", "+xrevrange", "+xdel"}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(string(readme)), " "), "`"+strings.Join(rights, " ")+"`")
	drop := func(t *testing.T, denied ...string) (*bench, int, error) {
		t.Helper()
		b := server.newBench(t)
		b.letter(b.topic, "1")
		rules := append([]string{"reset", "on", ">secret", "~" + redisstream.DeadLetterTopic(b.topic)}, rights...)
		require.NoError(t, b.client.ACLSetUser(t.Context(), "dropper"+b.topic, append(rules, denied...)...).Err())
		client := connectAs(b, "redis://dropper"+b.topic+":secret@"+server.Addr)
		for _, err := range redisstream.DeadLetters(t.Context(), client, b.topic) {
			if err != nil {
				return b, 0, err
			}
		}
		n, err := redisstream.DropDeadLettersFunc(t.Context(), client, b.topic, func(redisstream.DeadLetter) bool { return true })
		return b, n, err
	}
	b, dropped, err := drop(t)
	require.NoError(t, err)
	assert.Equal(t, 1, dropped)
	assert.Empty(t, server.denied(b, "dropper"))
	for _, right := range rights[1:] {
		b, _, err := drop(t, "-"+right[1:])
		require.ErrorContains(t, err, right[1:])
		assert.Len(t, b.letters(), 1)
	}
}

func connectAs(b *bench, rawURL string) redis.UniversalClient {
	b.Helper()
	client, err := redisstream.Connect(b.Context(), rawURL)
	require.NoError(b, err)
	b.Cleanup(func() { _ = client.Close() })
	return client
}
