package delivery

import (
	"context"
	"fmt"
	"net"
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

const wentBackLine = "reading continues at an earlier ID"

// A deleted stream starts again with small IDs. A fan-out reads them.
func TestFanOut_streamStartsAgain(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(b *fixture.Bench) error{
		"del":      func(b *fixture.Bench) error { return b.Client.Del(b.Context(), b.Topic).Err() },
		"flushall": func(b *fixture.Bench) error { return b.Client.FlushAll(b.Context()).Err() },
	} {
		for _, start := range []string{"0", "$"} {
			t.Run(name+start, func(t *testing.T) {
				t.Parallel()
				b := fixture.NewOn(t, redistest.Start(t))
				log := &redistest.Log{}
				config := fixture.PlainFanOutConfig(b.Client)
				config.StartID = start
				fixture.AddPlain(t, b.Client, b.Topic, "9999999999998-0", "old")
				messages := b.SubscribeLogged(config, log)
				if start == "0" {
					assert.Equal(t, []string{"old"}, fixture.ReceiveAll(t, messages, 1))
				}
				require.NoError(t, remove(b))
				for i := range 3 {
					fixture.AddPlain(t, b.Client, b.Topic, "*", fmt.Sprint(i))
				}
				assert.Equal(t, fixture.Payloads(3), fixture.ReceiveAll(t, messages, 3))
				require.NoError(t, remove(b))
				fixture.AddPlain(t, b.Client, b.Topic, "1-1", "again")
				assert.Equal(t, []string{"again"}, fixture.ReceiveAll(t, messages, 1))
				fixture.NothingComes(t, messages, 200*time.Millisecond)
				assert.GreaterOrEqual(t, log.Count(wentBackLine), 2)
				assert.LessOrEqual(t, log.Count(wentBackLine), 4, "one line each time, two if the reader noticed the missing stream")
				assert.Equal(t, log.Count(wentBackLine), log.Count("level=ERROR"))
			})
		}
	}
}

// movable is a client whose server can change.
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

// move switches the client to another server.
func (m *movable) move(t *testing.T, from, to *redistest.Server) {
	t.Helper()
	m.addr.Store(to.Addr)
	require.NoError(t, from.Client(t).ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
}

// After a failover, the new master may lack the last entries, and its clock may be behind. New
// entries then have the IDs of lost ones, or smaller IDs than were read.
func TestFanOut_failoverToAReplicaBehind(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fresh []string // new entries before the fan-out connects
		later []string // new entries afterwards
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
			b := fixture.NewOn(t, master)
			client := newMovable(t, master)
			log := &redistest.Log{}
			config := fixture.PlainFanOutConfig(client)
			fixture.AddPlain(t, b.Client, b.Topic, "1000-0", "0")
			fixture.AddPlain(t, b.Client, b.Topic, "1000-1", "1")
			fixture.AddPlain(t, b.Client, b.Topic, "1000-2", "2")
			promoted := replica.Client(t)
			b.Eventually("replicated", func() bool { return promoted.XLen(t.Context(), b.Topic).Val() == 3 })
			require.NoError(t, promoted.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
			for i, id := range []string{"1000-3", "1000-4", "2000-0", "2000-1"} {
				fixture.AddPlain(t, b.Client, b.Topic, id, "lost"+fmt.Sprint(i))
			}
			messages := b.SubscribeLogged(config, log)
			fixture.ReceiveAll(t, messages, 7)

			var want []string
			for _, id := range test.fresh {
				fixture.AddPlain(t, promoted, b.Topic, id, "new"+id)
				want = append(want, "new"+id)
			}
			client.move(t, master, replica)
			if len(want) > 0 {
				assert.Equal(t, want, fixture.ReceiveAll(t, messages, len(want)))
			}
			b.Eventually("noticed", func() bool { return log.Count(wentBackLine) == 1 })
			for _, id := range test.later {
				fixture.AddPlain(t, promoted, b.Topic, id, "new"+id)
				assert.Equal(t, []string{"new" + id}, fixture.ReceiveAll(t, messages, 1))
			}
			fixture.NothingComes(t, messages, 100*time.Millisecond)
			assert.Equal(t, 1, log.Count(wentBackLine))
			assert.Equal(t, 1, log.Count(`from=2000-1`))
			assert.Equal(t, 1, log.Count(`to=1000-2`))
		})
	}
}

// A fan-out keeps its position when entries before it are trimmed or deleted, or when StartID is
// ahead of the stream.
func TestFanOut_keepsItsPosition(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *fixture.Bench, ids []string) error{
		"trimmed": func(b *fixture.Bench, _ []string) error { return b.Client.XTrimMaxLen(b.Context(), b.Topic, 0).Err() },
		"deleted": func(b *fixture.Bench, ids []string) error {
			return b.Client.XDel(b.Context(), b.Topic, ids[len(ids)-1]).Err()
		},
		"nothing": func(*fixture.Bench, []string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.Start(t))
			log := &redistest.Log{}
			var ids []string
			for i := range 5 {
				ids = append(ids, fmt.Sprintf("1000-%d", i))
				fixture.AddPlain(t, b.Client, b.Topic, ids[i], fmt.Sprint(i))
			}
			messages := b.SubscribeLogged(fixture.PlainFanOutConfig(b.Client), log)
			fixture.ReceiveAll(t, messages, 5)
			require.NoError(t, change(b, ids))
			require.NoError(t, b.Client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
			fixture.NothingComes(t, messages, 300*time.Millisecond)
			fixture.AddPlain(t, b.Client, b.Topic, "*", "new")
			assert.Equal(t, []string{"new"}, fixture.ReceiveAll(t, messages, 1))
			fixture.NothingComes(t, messages, 100*time.Millisecond)
			if name != "deleted" {
				assert.Zero(t, log.Count(wentBackLine))
			}
		})
	}
	t.Run("StartID in the future", func(t *testing.T) {
		t.Parallel()
		b := fixture.NewOn(t, redistest.Start(t))
		config := fixture.PlainFanOutConfig(b.Client)
		config.StartID = "9999999999998-0"
		fixture.AddPlain(t, b.Client, b.Topic, "*", "old")
		messages := b.SubscribeLogged(config, &redistest.Log{})
		fixture.AddPlain(t, b.Client, b.Topic, "*", "old too")
		fixture.NothingComes(t, messages, 300*time.Millisecond)
		fixture.AddPlain(t, b.Client, b.Topic, "9999999999998-1", "new")
		assert.Equal(t, []string{"new"}, fixture.ReceiveAll(t, messages, 1))
	})
}

const missedLine = "entries were trimmed from the stream before the subscription read them"

// Entries that are trimmed before a fan-out reads them are counted. The count is exact when
// everything is read.
func TestFanOut_countsTrimmedEntries(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"0", "$"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.Start(t))
			log := &redistest.Log{}
			config := fixture.PlainFanOutConfig(b.Client)
			config.StartID = start
			for range 30 { // before the fan-out began: not counted
				fixture.AddPlain(t, b.Client, b.Topic, "*", "old")
			}
			require.NoError(t, b.Client.XTrimMaxLen(t.Context(), b.Topic, 0).Err())
			messages := b.SubscribeLogged(config, log)
			fixture.AddPlain(t, b.Client, b.Topic, "*", "first")
			held := fixture.Receive(t, messages)
			for i := range 500 {
				fixture.AddPlain(t, b.Client, b.Topic, "*", fmt.Sprint(i))
			}
			require.NoError(t, b.Client.XTrimMaxLen(t.Context(), b.Topic, 20).Err())
			held.Ack()
			seen := 0
			for last := ""; last != "499"; seen++ {
				last = fixture.ReceiveAll(t, messages, 1)[0]
			}
			b.Eventually("counted", func() bool { return countMissed(t, log) == 500-seen })
			fixture.NothingComes(t, messages, 200*time.Millisecond)
			assert.Equal(t, 500-seen, countMissed(t, log))
			assert.GreaterOrEqual(t, seen, 20)
			assert.Less(t, seen, 500)
		})
	}
}

// countMissed adds up the counts of missed entries in the log.
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

func TestFanOut_seesAllThatIsPublishedAfterSubscribe(t *testing.T) {
	t.Parallel()
	for range 20 {
		b := fixture.New(t)
		b.Publish(5)
		_, one := b.Subscribe(redisstream.SubscriberConfig{})
		_, two := b.Subscribe(redisstream.SubscriberConfig{})
		b.Publish(50)
		assert.Equal(t, fixture.Payloads(50), fixture.ReceiveAll(t, one, 50))
		assert.Equal(t, fixture.Payloads(50), fixture.ReceiveAll(t, two, 50))
	}
}
