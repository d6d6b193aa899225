package redisstream_test

import (
	"context"
	"fmt"
	"net"
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

// plainFanout is a fan-out of plain entries that begins with the oldest and waits only shortly.
func plainFanout(client redis.UniversalClient) redisstream.SubscriberConfig {
	return redisstream.SubscriberConfig{Client: client, Unmarshaler: redisstream.PlainMarshaler{}, StartID: "0", BlockTime: 50 * time.Millisecond}
}

// addPlain adds an entry with its payload.
func addPlain(tb testing.TB, client redis.Cmdable, topic, id, payload string) {
	tb.Helper()
	require.NoError(tb, client.XAdd(tb.Context(), &redis.XAddArgs{Stream: topic, ID: id, Values: []any{"data", payload}}).Err())
}

const wentBack = "reading continues at an earlier ID"

// A stream that begins anew has small IDs again: a fan-out reads them.
func TestFanoutPosition_streamBeginsAnew(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(b *bench) error{
		"del":      func(b *bench) error { return b.client.Del(b.Context(), b.topic).Err() },
		"flushall": func(b *bench) error { return b.client.FlushAll(b.Context()).Err() },
	} {
		for _, start := range []string{"0", "$"} {
			t.Run(name+start, func(t *testing.T) {
				t.Parallel()
				b := newBenchOn(t, redistest.Start(t))
				log := &redistest.Log{}
				config := plainFanout(b.client)
				config.StartID = start
				addPlain(t, b.client, b.topic, "9999999999998-0", "old")
				messages := b.subscribeLogged(config, log)
				if start == "0" {
					assert.Equal(t, []string{"old"}, receiveAll(t, messages, 1))
				}
				require.NoError(t, remove(b))
				for i := range 3 {
					addPlain(t, b.client, b.topic, "*", fmt.Sprint(i))
				}
				assert.Equal(t, upTo(3), receiveAll(t, messages, 3))
				require.NoError(t, remove(b))
				addPlain(t, b.client, b.topic, "1-1", "again")
				assert.Equal(t, []string{"again"}, receiveAll(t, messages, 1))
				nothingComes(t, messages, 200*time.Millisecond)
				assert.GreaterOrEqual(t, log.Count(wentBack), 2)
				assert.LessOrEqual(t, log.Count(wentBack), 4, "a line for each time, or two where the stream was seen missing")
				assert.Equal(t, log.Count(wentBack), log.Count("level=ERROR"))
			})
		}
	}
}

// movable is a client whose server may change.
type movable struct {
	*redis.Client
	addr atomic.Value
}

func newMovable(t *testing.T, first *redistest.Server) *movable {
	t.Helper()
	m := &movable{}
	m.addr.Store(first.Addr)
	m.Client = first.Client(t, func(o *redis.Options) {
		o.ClientName = "movable"
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			addr, _ := m.addr.Load().(string)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	})
	return m
}

// move lets the client go on with another server.
func (m *movable) move(t *testing.T, from, to *redistest.Server) {
	t.Helper()
	m.addr.Store(to.Addr)
	require.NoError(t, from.Client(t).ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
}

// After a failover to a replica that lacks the last entries, and whose clock is behind, new entries have the IDs of lost ones,
// or smaller ones than were read.
func TestFanoutPosition_failoverToAReplicaBehind(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fresh []string // IDs of the new entries that are there before the fan-out comes
		later []string // and of those after
	}{
		"nothing new yet": {later: []string{"1000-3", "1000-4", "3000-0"}},
		"the same IDs":    {fresh: []string{"1000-3", "1000-4"}, later: []string{"1000-5", "3000-0"}},
		"behind":          {fresh: []string{"1500-0"}, later: []string{"1500-1"}},
		"ahead again":     {fresh: []string{"1500-0", "1500-1", "5000-0"}, later: []string{"5000-1"}},
		"only ahead":      {fresh: []string{"5000-0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
			replica := redistest.StartReplica(t, master)
			b := newBenchOn(t, master)
			client := newMovable(t, master)
			log := &redistest.Log{}
			config := plainFanout(client)
			addPlain(t, b.client, b.topic, "1000-0", "0")
			addPlain(t, b.client, b.topic, "1000-1", "1")
			addPlain(t, b.client, b.topic, "1000-2", "2")
			promoted := replica.Client(t)
			b.eventually("replicated", func() bool { return promoted.XLen(t.Context(), b.topic).Val() == 3 })
			require.NoError(t, promoted.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
			for i, id := range []string{"1000-3", "1000-4", "2000-0", "2000-1"} {
				addPlain(t, b.client, b.topic, id, "lost"+fmt.Sprint(i))
			}
			messages := b.subscribeLogged(config, log)
			receiveAll(t, messages, 7)

			var want []string
			for _, id := range test.fresh {
				addPlain(t, promoted, b.topic, id, "new"+id)
				want = append(want, "new"+id)
			}
			client.move(t, master, replica)
			if len(want) > 0 {
				assert.Equal(t, want, receiveAll(t, messages, len(want)))
			}
			b.eventually("noticed", func() bool { return log.Count(wentBack) == 1 })
			for _, id := range test.later {
				addPlain(t, promoted, b.topic, id, "new"+id)
				assert.Equal(t, []string{"new" + id}, receiveAll(t, messages, 1))
			}
			nothingComes(t, messages, 100*time.Millisecond)
			assert.Equal(t, 1, log.Count(wentBack))
			assert.Equal(t, 1, log.Count(`from=2000-1`))
			assert.Equal(t, 1, log.Count(`to=1000-2`))
		})
	}
}

// What is trimmed or deleted behind the position is no reason to go back, and neither is a StartID that the stream has not reached.
func TestFanoutPosition_staysWhereItIs(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *bench, ids []string) error{
		"trimmed": func(b *bench, _ []string) error { return b.client.XTrimMaxLen(b.Context(), b.topic, 0).Err() },
		"deleted": func(b *bench, ids []string) error { return b.client.XDel(b.Context(), b.topic, ids[len(ids)-1]).Err() },
		"nothing": func(*bench, []string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, redistest.Start(t))
			log := &redistest.Log{}
			var ids []string
			for i := range 5 {
				ids = append(ids, fmt.Sprintf("1000-%d", i))
				addPlain(t, b.client, b.topic, ids[i], fmt.Sprint(i))
			}
			messages := b.subscribeLogged(plainFanout(b.client), log)
			receiveAll(t, messages, 5)
			require.NoError(t, change(b, ids))
			require.NoError(t, b.client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
			nothingComes(t, messages, 300*time.Millisecond)
			addPlain(t, b.client, b.topic, "*", "new")
			assert.Equal(t, []string{"new"}, receiveAll(t, messages, 1))
			nothingComes(t, messages, 100*time.Millisecond)
			if name != "deleted" {
				assert.Zero(t, log.Count(wentBack))
			}
		})
	}
	t.Run("StartID in the future", func(t *testing.T) {
		t.Parallel()
		b := newBenchOn(t, redistest.Start(t))
		config := plainFanout(b.client)
		config.StartID = "9999999999998-0"
		addPlain(t, b.client, b.topic, "*", "old")
		messages := b.subscribeLogged(config, &redistest.Log{})
		addPlain(t, b.client, b.topic, "*", "old too")
		nothingComes(t, messages, 300*time.Millisecond)
		addPlain(t, b.client, b.topic, "9999999999998-1", "new")
		assert.Equal(t, []string{"new"}, receiveAll(t, messages, 1))
	})
}

const missedLine = "entries were trimmed from the stream before the subscription read them"

// What is trimmed before a fan-out read it is counted, exactly once all is read.
func TestFanoutPosition_countsWhatWasTrimmed(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"0", "$"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, redistest.Start(t))
			log := &redistest.Log{}
			config := plainFanout(b.client)
			config.StartID = start
			for range 30 { // before it began: not missed
				addPlain(t, b.client, b.topic, "*", "old")
			}
			require.NoError(t, b.client.XTrimMaxLen(t.Context(), b.topic, 0).Err())
			messages := b.subscribeLogged(config, log)
			addPlain(t, b.client, b.topic, "*", "first")
			held := receive(t, messages)
			for i := range 500 {
				addPlain(t, b.client, b.topic, "*", fmt.Sprint(i))
			}
			require.NoError(t, b.client.XTrimMaxLen(t.Context(), b.topic, 20).Err())
			held.Ack()
			seen := 0
			for last := ""; last != "499"; seen++ {
				last = receiveAll(t, messages, 1)[0]
			}
			b.eventually("counted", func() bool { return countMissed(t, log) == 500-seen })
			nothingComes(t, messages, 200*time.Millisecond)
			assert.Equal(t, 500-seen, countMissed(t, log))
			assert.GreaterOrEqual(t, seen, 20)
			assert.Less(t, seen, 500)
		})
	}
}

// countMissed adds up what the log says was missed.
func countMissed(t *testing.T, log *redistest.Log) (sum int) {
	t.Helper()
	for _, line := range log.Lines() {
		if strings.Contains(line, missedLine) {
			var n int
			_, err := fmt.Sscanf(line[strings.Index(line, " count=")+1:], "count=%d", &n)
			require.NoError(t, err, line)
			sum += n
		}
	}
	return sum
}
