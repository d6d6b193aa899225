package recovery

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outage is a state in which a server refuses commands.
type outage struct {
	text      string // of the error of Publish
	retryable bool   // it may end by itself: a Publish with a deadline waits
	server    func(t *testing.T) *redistest.Server
	begin     func(b *fixture.Bench)
	end       func(b *fixture.Bench)
}

func privateServer(args ...string) func(t *testing.T) *redistest.Server {
	return func(t *testing.T) *redistest.Server {
		t.Helper()
		return redistest.Start(t, args...)
	}
}

var outages = map[string]outage{
	"server down": {
		text: "connect: connection refused", retryable: true,
		server: privateServer(redistest.Durable...),
		begin:  func(b *fixture.Bench) { b.Server.Kill() },
		end:    func(b *fixture.Bench) { b.Server.Restart(b.T) },
	},
	"LOADING": {
		text: "LOADING", retryable: true,
		server: privateServer("--appendfsync", "always", "--key-load-delay", "30000", "--loading-process-events-interval-bytes", "1024"),
		begin: func(b *fixture.Bench) {
			for i := range 100 {
				var value strings.Builder
				for value.Len() < 2048 { // random, so that it can't be compressed
					value.WriteString(rand.Text())
				}
				b.Do("SET", fmt.Sprint("key", i), value.String())
			}
			b.Do("CONFIG", "SET", "appendonly", "no")
			b.Do("CONFIG", "SET", "appendonly", "yes") // writes a base file, whose keys are loaded one by one
			b.Eventually("rewritten", func() bool {
				info, err := b.Client.Info(b.Context(), "persistence").Result()
				return err == nil && strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
			})
			b.Server.Kill()
			go b.Server.Restart(b.T)
			impatient := b.Server.Client(b.T, func(o *redis.Options) { o.MaxRetries = -1 })
			b.Eventually("loading", func() bool {
				err := impatient.Ping(b.Context()).Err()
				return err != nil && strings.HasPrefix(err.Error(), "LOADING")
			})
		},
		end: func(*fixture.Bench) {},
	},
	"READONLY": {
		text: "READONLY", retryable: true,
		server: privateServer(),
		begin:  func(b *fixture.Bench) { b.Do("REPLICAOF", "127.0.0.1", "1") },
		end:    func(b *fixture.Bench) { b.Do("REPLICAOF", "NO", "ONE") },
	},
	"MASTERDOWN": {
		text: "MASTERDOWN", retryable: true,
		server: privateServer("--replica-serve-stale-data", "no", "--replica-read-only", "no"),
		begin:  func(b *fixture.Bench) { b.Do("REPLICAOF", "127.0.0.1", "1") },
		end:    func(b *fixture.Bench) { b.Do("REPLICAOF", "NO", "ONE") },
	},
	"CLUSTERDOWN": {
		text: "CLUSTERDOWN", retryable: true,
		server: func(t *testing.T) *redistest.Server { t.Helper(); return redistest.StartCluster(t) },
		begin:  func(b *fixture.Bench) { b.Do("CLUSTER", "DELSLOTSRANGE", 0, 16383) },
		end:    func(b *fixture.Bench) { b.Do("CLUSTER", "ADDSLOTSRANGE", 0, 16383) },
	},
	"OOM": {
		text:   "OOM",
		server: privateServer(),
		begin:  func(b *fixture.Bench) { b.Do("CONFIG", "SET", "maxmemory", "1") },
		end:    func(b *fixture.Bench) { b.Do("CONFIG", "SET", "maxmemory", "0") },
	},
	"NOPERM": {
		text:   "NOPERM",
		server: privateServer(),
		begin:  func(b *fixture.Bench) { b.Do("ACL", "SETUSER", "default", "-xadd", "-xreadgroup") },
		end:    func(b *fixture.Bench) { b.Do("ACL", "SETUSER", "default", "+xadd", "+xreadgroup") },
	},
	"WRONGTYPE": {
		text:   "WRONGTYPE",
		server: privateServer(),
		begin: func(b *fixture.Bench) {
			b.Do("RENAME", b.Topic, "kept")
			b.Do("SET", b.Topic, "")
		},
		end: func(b *fixture.Bench) { b.Do("RENAME", "kept", b.Topic) },
	},
}

// If an outage is retryable, a Publish with a deadline waits, and so do subscriptions. Otherwise
// Publish fails at once. In both cases nothing is sent twice, and a subscription resumes after the
// outage. It logs the start and the end.
func TestOutage_serverRefusesCommands(t *testing.T) {
	t.Parallel()
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, outage.server(t))
			var lines redistest.Log
			config := fixture.GroupConfig()
			config.Client = b.Client
			messages := b.SubscribeLogged(config, &lines)
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
			require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("before", []byte("before"))))
			assert.Equal(t, []string{"before"}, fixture.ReceiveAll(t, messages, 1))
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })

			outage.begin(b)
			hasty := message.NewMessage("hasty", []byte("hasty"))
			failure := fixture.AsPublishError(t, publisher.Publish(b.Topic, hasty))
			assert.ErrorContains(t, failure, outage.text)
			assert.Equal(t, []*message.Message{hasty}, failure.Failed)

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			patient := fixture.Numbered("patient", 3)
			patient[1].SetContext(ctx)
			result := fixture.GoPublish(publisher, b.Topic, patient...)
			want := []string{"patient-0", "patient-1", "patient-2"}
			if !outage.retryable {
				require.ErrorContains(t, redistest.Within(t, "Publish", result), outage.text)
				want = nil
			}
			if outage.text != "OOM" { // reading needs no memory
				b.Eventually("noticed", func() bool { return lines.Count("reading from the stream failed") == 1 })
			}
			outage.end(b)
			if outage.retryable {
				require.NoError(t, redistest.Within(t, "Publish", result))
			}
			require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("after", []byte("after"))))
			assert.Equal(t, append(want, "after"), fixture.ReceiveAll(t, messages, len(want)+1))
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
			fixture.NothingComes(t, messages, 10*time.Millisecond)
			assert.LessOrEqual(t, lines.Count("reading from the stream failed"), 1)
			assert.Equal(t, lines.Count("reading from the stream failed"), lines.Count("reading from the stream works again"))
		})
	}
}

// The server dies and restarts with its data. The subscription resumes by itself, and logs the
// start and the end of each outage.
func TestOutage_serverRestarts(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t, redistest.Durable...))
	var log redistest.Log
	config := fixture.GroupConfig()
	config.Client = b.Client
	messages := b.SubscribeLogged(config, &log)
	b.Publish(100)
	fixture.ReceiveAll(t, messages, 50)
	for round := range 2 {
		b.Server.Kill()
		b.Eventually("noticed", func() bool { return log.Count("reading from the stream failed") == round+1 })
		b.Server.Restart(t)
		b.Eventually("resumed", func() bool { return log.Count("reading from the stream works again") == round+1 })
	}
	b.Publish(1)
	payloads := fixture.ReceiveAll(t, messages, 51)
	assert.Equal(t, append(fixture.Payloads(100)[50:], "0"), payloads)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	assert.LessOrEqual(t, log.Count("level=ERROR"), 4, "reading, and perhaps acknowledging, each time")
}

// Close does not wait for a server that hangs, beyond its time-outs.
func TestOutage_serverHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := fixture.NewOn(t, server)
	b.Client = server.Client(t, func(o *redis.Options) { o.ReadTimeout, o.MaxRetries = 500*time.Millisecond, -1 })
	subscriber, messages := b.Subscribe(fixture.GroupConfig())
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	server.Pause()
	defer server.Resume()
	msg.Ack()
	began := time.Now()
	require.NoError(t, subscriber.Close())
	assert.Less(t, time.Since(began), 10*time.Second)
}
