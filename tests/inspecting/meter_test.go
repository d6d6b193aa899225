package inspecting

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// meter measures how long the server works on the commands of a client. Other clients wait during
// that time. Other processes that use the processor only add to the time, so the shortest of
// several runs counts.
type meter struct {
	b      *fixture.Bench
	client *redis.Client
	flying flying
}

func newMeter(b *fixture.Bench) *meter {
	m := &meter{b: b}
	m.client = b.Server.Client(b.T, func(o *redis.Options) { o.ClientName = "measured" })
	m.client.AddHook(&m.flying)
	return m
}

// figures are those of a run.
type figures struct {
	took    time.Duration
	command time.Duration // the 90th percentile of the server's time for a command; of fewer than 10 the longest
	flying  time.Duration // the server's time for all commands that are under way at the same time
	others  time.Duration // the 99th percentile of what another client waits, which is noisy
	scripts int64
}

// ok reports whether a call is quick, and others hardly wait for it.
func (f figures) ok() bool {
	return f.took < 2*time.Second && f.command < 5*time.Millisecond && f.flying < 5*time.Millisecond
}

// check fails unless a run of a call is ok. A busy machine may need some. Each run is prepared.
func (m *meter) check(name string, prepare func(), do func() error) {
	m.b.Helper()
	const runs = 10
	prepare()
	least := m.run(do)
	for run := 1; !least.ok() && run < runs; run++ {
		prepare()
		f := m.run(do)
		least.took, least.command = min(least.took, f.took), min(least.command, f.command)
		least.flying, least.others = min(least.flying, f.flying), min(least.others, f.others)
	}
	m.b.Logf("%-20s %8v, %5d commands, a command takes the server %v, all that are under way %v; others wait %v",
		name, least.took.Round(100*time.Microsecond), least.scripts, least.command, least.flying, least.others.Round(10*time.Microsecond))
	assert.True(m.b, least.ok(), "%s: %+v", name, least)
}

func (m *meter) run(do func() error) (f figures) {
	m.b.Helper()
	m.b.Do("SLOWLOG", "RESET")
	m.b.Do("CONFIG", "RESETSTAT")
	m.flying.most.Store(0)
	f.others = m.others(func() {
		began := time.Now()
		require.NoError(m.b, do())
		f.took = time.Since(began)
	})
	var mean time.Duration
	f.scripts, mean = m.scripts()
	f.command = m.percentile(f.scripts)
	f.flying = time.Duration(max(m.flying.most.Load(), 1)) * mean
	return f
}

var callStats = regexp.MustCompile(`cmdstat_(?:eval|evalsha|zrange):calls=(\d+),usec=(\d+)`)

// scripts returns how many scripts and reads of delayed messages ran, and how long one took.
func (m *meter) scripts() (calls int64, mean time.Duration) {
	m.b.Helper()
	stats, err := m.b.Client.Info(m.b.Context(), "commandstats").Result()
	require.NoError(m.b, err)
	var sum int64
	for _, found := range callStats.FindAllStringSubmatch(stats, -1) {
		n, _ := strconv.ParseInt(found[1], 10, 64)
		usec, _ := strconv.ParseInt(found[2], 10, 64)
		calls, sum = calls+n, sum+usec
	}
	return calls, time.Duration(sum/max(calls, 1)) * time.Microsecond
}

// percentile returns the 90th percentile of the server's time for n commands of the client.
func (m *meter) percentile(n int64) time.Duration {
	m.b.Helper()
	logged, err := m.b.Client.SlowLogGet(m.b.Context(), -1).Result()
	require.NoError(m.b, err)
	var took []time.Duration
	for _, entry := range logged {
		// The commands of a script have capital letters.
		if entry.ClientName == "measured" && slices.Contains([]string{"evalsha", "eval", "scan", "zrange"}, entry.Args[0]) {
			took = append(took, entry.Duration)
		}
	}
	slices.SortFunc(took, func(x, y time.Duration) int { return int(y - x) })
	if above := int(n / 10); above < len(took) {
		return took[above]
	}
	return 500 * time.Microsecond // none of these was logged
}

// others sends PING and XADD from another client while f runs, and returns the 99th percentile.
func (m *meter) others(f func()) (p99 time.Duration) {
	m.b.Helper()
	client := m.b.Server.Client(m.b.T)
	ctx, stop := context.WithCancel(context.WithoutCancel(m.b.Context()))
	all := make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for len(took) == 0 || ctx.Err() == nil {
			began := time.Now()
			_, _ = client.Pipelined(m.b.Context(), func(pipe redis.Pipeliner) error {
				pipe.Ping(m.b.Context())
				return pipe.XAdd(m.b.Context(), &redis.XAddArgs{Stream: "other", MaxLen: 10, Values: []any{"a", 1}}).Err()
			})
			took = append(took, time.Since(began))
		}
		all <- took
	}()
	f()
	stop()
	took := <-all
	slices.Sort(took)
	return took[len(took)*99/100]
}

// flying counts the commands of pipelines that are under way at the same time.
type flying struct{ now, most atomic.Int64 }

// DialHook implements redis.Hook.
func (*flying) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

// ProcessHook implements redis.Hook.
func (*flying) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (f *flying) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		now := f.now.Add(int64(len(commands)))
		defer f.now.Add(-int64(len(commands)))
		for most := f.most.Load(); now > most && !f.most.CompareAndSwap(most, now); {
			most = f.most.Load()
		}
		return next(ctx, commands)
	}
}
