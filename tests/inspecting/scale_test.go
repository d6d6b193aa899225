package inspecting

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	manyTopics  = 10_000
	manyEntries = 100_000
)

// fill runs a script that creates what the tests of scale need, in steps that don't block for long.
func fill(b *fixture.Bench, script string, n int, args ...any) {
	b.Helper()
	const step = 10_000
	for from := 0; from < n; from += step {
		require.NoError(b, b.Client.Eval(b.Context(), script+"\nreturn 1", nil, append([]any{from, from + step - 1}, args...)...).Err())
	}
}

const (
	addTopics = `for i = ARGV[1], ARGV[2] do
		local topic = 'scale-' .. i
		redis.call('XADD', topic, '*', '_watermill_message_uuid', i, 'payload', 'coffee')
		redis.call('XGROUP', 'CREATE', topic, 'g', '0')
	end`
	addEntries = `for i = ARGV[1], ARGV[2] do
		redis.call('XADD', ARGV[3], '*', '_watermill_message_uuid', 'uuid-' .. i, 'payload', 'coffee')
	end`
	readEntries = `redis.call('XREADGROUP', 'GROUP', 'g', 'dead', 'COUNT', ARGV[2] - ARGV[1] + 1, 'STREAMS', ARGV[3], '>')`
	addLetters  = `for i = ARGV[1], ARGV[2] do
		redis.call('XADD', ARGV[4], '*', '_watermill_message_uuid', 'dead-' .. i, 'payload', 'coffee', '_dead_letter_stream', ARGV[3],
			'_dead_letter_id', '5-5', '_dead_letter_group', 'g', '_dead_letter_reason', 'no coffee')
	end`
)

// first returns after the first page of an iteration.
func first[T any](n int, all iter.Seq2[T, error]) error {
	for _, err := range all {
		if n--; err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// latencies sends PING and XADD from another client while f runs, and returns the 99th percentile.
func latencies(b *fixture.Bench, f func()) (p99 time.Duration, n int) {
	b.Helper()
	client := b.Server.Client(b.T)
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	all := make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for ctx.Err() == nil {
			began := time.Now()
			_, _ = client.Pipelined(b.Context(), func(pipe redis.Pipeliner) error {
				pipe.Ping(b.Context())
				pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: "other", MaxLen: 10, Values: []any{"a", 1}})
				return nil
			})
			took = append(took, time.Since(began))
		}
		all <- took
	}()
	f()
	stop()
	took := <-all
	slices.Sort(took)
	return took[len(took)*99/100], len(took)
}

// Each call answers, or has its first page, within 2 s, however much there is, and other clients hardly wait.
// The bounds are wide, because the machine that runs the tests is busy; the figures are in the log.
func TestScale(t *testing.T) {
	b := fixture.NewOn(t, redistest.Start(t, "--slowlog-log-slower-than", "100", "--slowlog-max-len", "10000"))
	a := newAdmin(b)
	fill(b, addTopics, manyTopics)
	fill(b, addEntries, manyEntries, b.Topic)
	b.Do("XGROUP", "CREATE", b.Topic, "g", "0")
	fill(b, readEntries, manyEntries, b.Topic)
	fill(b, addEntries, manyEntries/2, b.Topic)
	fill(b, addLetters, manyEntries, b.Topic, redisstream.DeadLetterTopic(b.Topic))
	entries, err := b.Client.XRangeN(t.Context(), b.Topic, "-", "+", 70_000).Result()
	require.NoError(t, err)
	b.Do("XDEL", b.Topic, entries[len(entries)-1].ID) // the server's lag is no use from here on

	ctx := t.Context()
	quiet, _ := latencies(b, func() { time.Sleep(300 * time.Millisecond) })
	t.Logf("%-20s           p99 of others %v", "nothing", quiet)
	for _, call := range []struct {
		name string
		do   func() error
	}{
		{"all topics", func() error {
			n := 0
			for _, err := range a.Topics(ctx, "*-*") { // not "other"
				if n++; err != nil {
					return err
				}
			}
			assert.Equal(t, manyTopics+1, n)
			return nil
		}},
		{"topic", func() error { _, err := a.Topic(ctx, b.Topic); return err }},
		{"groups", func() error { _, err := a.Groups(ctx, b.Topic); return err }},
		{"consumers", func() error { _, err := a.Consumers(ctx, b.Topic, "g"); return err }},
		{"pending, a page", func() error { return first(500, a.Pending(ctx, b.Topic, "g", admin.PendingFilter{})) }},
		{"pending, all", func() error { return first(0, a.Pending(ctx, b.Topic, "g", admin.PendingFilter{})) }},
		{"messages, a page", func() error { return first(100, a.Messages(ctx, b.Topic, admin.Range{})) }},
		{"messages, newest", func() error { return first(100, a.Messages(ctx, b.Topic, admin.Range{Reverse: true})) }},
		{"dead letters, a page", func() error { return first(100, a.DeadLetters(ctx, b.Topic)) }},
		{"find, the first", func() error { return first(1, a.Find(ctx, b.Topic, "uuid-99", admin.Range{})) }},
		{"snapshot of 500", func() error { _, err := a.Snapshot(ctx, 500); return err }},
	} {
		var took time.Duration
		longest(b)
		p99, n := latencies(b, func() {
			began := time.Now()
			assert.NoError(t, call.do(), call.name)
			took = time.Since(began)
		})
		blocked := longest(b)
		t.Logf("%-20s %8v, p99 of others %v (%d), longest command %v", call.name, took.Round(100*time.Microsecond), p99, n, blocked)
		assert.Less(t, blocked, time.Second, call.name) // a busy machine stops the server too
		assert.Less(t, took, 2*fixture.Soon, call.name)
		assert.Less(t, p99, time.Second, call.name)
	}
}

// longest returns how long the slowest command blocked the server since the last call.
func longest(b *fixture.Bench) (d time.Duration) {
	b.Helper()
	logged, err := b.Client.SlowLogGet(b.Context(), -1).Result()
	require.NoError(b, err)
	for _, entry := range logged {
		d = max(d, entry.Duration)
	}
	b.Do("SLOWLOG", "RESET")
	return d
}

// All dead letters can be read without holding them.
func TestScale_deadLettersAreNotHeld(t *testing.T) {
	b := fixture.NewOn(t, redistest.Start(t))
	fill(b, addLetters, manyEntries, b.Topic, redisstream.DeadLetterTopic(b.Topic))
	a := newAdmin(b)
	var chosen int
	heap := fixture.PeakHeap(func() {
		outcome, err := a.DropDeadLetters(t.Context(), b.Topic, func(admin.DeadLetter) bool { return true }, true)
		require.NoError(t, err)
		assert.True(t, outcome.DryRun)
		chosen = len(outcome.IDs)
	})
	assert.Equal(t, manyEntries, chosen)
	assert.Less(t, heap, int64(64<<20), fmt.Sprint(heap))
	assert.Equal(t, int64(manyEntries), b.Client.XLen(t.Context(), redisstream.DeadLetterTopic(b.Topic)).Val())
}
