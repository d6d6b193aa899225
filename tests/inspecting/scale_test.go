package inspecting

import (
	"fmt"
	"iter"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
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
	addDelayed = `for i = ARGV[1], ARGV[2] do
		local id, uuid = tostring(i), 'later-' .. i
		redis.call('ZADD', ARGV[3], 4e12 + i, #id .. ':' .. id .. '1:x1:x23:_watermill_message_uuid' .. #uuid .. ':' .. uuid)
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

// Each call answers, or has its first page, within 2 s, however much there is, and the server works on
// its commands for so short a time that other clients wait for less than 5 ms.
func TestScale(t *testing.T) {
	b := fixture.NewOn(t, redistest.Start(t, "--slowlog-log-slower-than", "500", "--slowlog-max-len", "100000"))
	m := newMeter(b)
	a, err := admin.New(admin.Config{Client: m.client})
	require.NoError(t, err)
	fill(b, addTopics, manyTopics)
	fill(b, addEntries, manyEntries, b.Topic)
	fill(b, addEntries, manyEntries/2, b.Topic)
	fill(b, addLetters, manyEntries, b.Topic, redisstream.DeadLetterTopic(b.Topic))
	fill(b, addDelayed, manyEntries, redisstream.DelayedKey(b.Topic))
	entries, err := b.Client.XRangeN(t.Context(), b.Topic, "-", "+", 70_000).Result()
	require.NoError(t, err)
	b.Do("XDEL", b.Topic, entries[len(entries)-1].ID) // the server's lag is no use from here on
	read := func(n int) {                             // a dead consumer has many entries
		b.Client.XGroupDestroy(t.Context(), b.Topic, "g")
		b.Do("XGROUP", "CREATE", b.Topic, "g", "0")
		fill(b, readEntries, n, b.Topic)
		b.Do("HSET", redisstream.MembersKey(b.Topic, "g"), "dead", `1000 {"every":1000000000}`)
	}
	read(manyEntries)

	ctx := t.Context()
	none := func(admin.Delayed) bool { return false }
	for _, call := range []struct {
		name string
		do   func() error
	}{
		{"all topics", func() error {
			n := 0
			for _, err := range a.Topics(ctx, "*-*") { // not that of the other client
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
		{"pending, a page", func() error { return first(100, a.Pending(ctx, b.Topic, "g", admin.PendingFilter{})) }},
		{"pending, all", func() error { return first(0, a.Pending(ctx, b.Topic, "g", admin.PendingFilter{})) }},
		{"messages, a page", func() error { return first(100, a.Messages(ctx, b.Topic, admin.Range{})) }},
		{"messages, newest", func() error { return first(100, a.Messages(ctx, b.Topic, admin.Range{Reverse: true})) }},
		{"dead letters, a page", func() error { return first(100, a.DeadLetters(ctx, b.Topic)) }},
		{"delayed, a page", func() error { return first(100, a.Delayed(ctx, b.Topic)) }},
		{"find, the first", func() error { return first(1, a.Find(ctx, b.Topic, "uuid-99", admin.Range{})) }},
		{"find, nothing", func() error { return first(0, a.Find(ctx, b.Topic, "nothing", admin.Range{})) }},
		{"snapshot of 1,000", func() error { _, err := a.Snapshot(ctx, 1000); return err }},
		{"reset, dry run", func() error { _, err := a.Reset(ctx, b.Topic, "g", admin.ResetTo{ID: "$", DryRun: true}); return err }},
		{"drop delayed, none", func() error { _, err := a.DropDelayed(ctx, b.Topic, none, false); return err }},
	} {
		m.check(call.name, func() {}, call.do)
	}
	m.check("drop consumer", func() { read(manyEntries / 10) }, func() error { _, err := a.DropConsumer(ctx, b.Topic, "g", "dead", false); return err })
	m.check("reset", func() { read(manyEntries) }, func() error { _, err := a.Reset(ctx, b.Topic, "g", admin.ResetTo{ID: "$"}); return err })
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
