package redisstream_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trouble is what a server may refuse commands for, and what ends it.
type trouble struct {
	text   string // in the error of Publish
	passes bool   // by itself: what waits for it is published
	server func(t *testing.T) *redistest.Server
	begin  func(b *bench)
	end    func(b *bench)
}

func privateServer(args ...string) func(t *testing.T) *redistest.Server {
	return func(t *testing.T) *redistest.Server {
		t.Helper()
		return redistest.Start(t, args...)
	}
}

func (b *bench) do(args ...any) {
	b.Helper()
	require.NoError(b, b.client.Do(context.WithoutCancel(b.Context()), args...).Err(), "%v", args)
}

var troubles = map[string]trouble{
	"server down": {
		text: "connect: connection refused", passes: true,
		server: privateServer(redistest.Durable...),
		begin:  func(b *bench) { b.server.Kill() },
		end:    func(b *bench) { b.server.Restart(b.T) },
	},
	"LOADING": {
		text: "LOADING", passes: true,
		server: privateServer("--appendfsync", "always", "--key-load-delay", "30000", "--loading-process-events-interval-bytes", "1024"),
		begin: func(b *bench) {
			for i := range 100 {
				var value strings.Builder
				for value.Len() < 2048 { // what can't be compressed
					value.WriteString(rand.Text())
				}
				b.do("SET", fmt.Sprint("key", i), value.String())
			}
			b.do("CONFIG", "SET", "appendonly", "no")
			b.do("CONFIG", "SET", "appendonly", "yes") // writes a base file, whose keys are loaded one by one
			b.eventually("rewritten", func() bool {
				info, err := b.client.Info(b.Context(), "persistence").Result()
				return err == nil && strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
			})
			b.server.Kill()
			go b.server.Restart(b.T)
			impatient := b.server.Client(b.T, func(o *redis.Options) { o.MaxRetries = -1 })
			b.eventually("loading", func() bool {
				err := impatient.Ping(b.Context()).Err()
				return err != nil && strings.HasPrefix(err.Error(), "LOADING")
			})
		},
		end: func(*bench) {},
	},
	"READONLY": {
		text: "READONLY", passes: true,
		server: privateServer(),
		begin:  func(b *bench) { b.do("REPLICAOF", "127.0.0.1", "1") },
		end:    func(b *bench) { b.do("REPLICAOF", "NO", "ONE") },
	},
	"MASTERDOWN": {
		text: "MASTERDOWN", passes: true,
		server: privateServer("--replica-serve-stale-data", "no", "--replica-read-only", "no"),
		begin:  func(b *bench) { b.do("REPLICAOF", "127.0.0.1", "1") },
		end:    func(b *bench) { b.do("REPLICAOF", "NO", "ONE") },
	},
	"CLUSTERDOWN": {
		text: "CLUSTERDOWN", passes: true,
		server: func(t *testing.T) *redistest.Server { t.Helper(); return redistest.StartCluster(t) },
		begin:  func(b *bench) { b.do("CLUSTER", "DELSLOTSRANGE", 0, 16383) },
		end:    func(b *bench) { b.do("CLUSTER", "ADDSLOTSRANGE", 0, 16383) },
	},
	"OOM": {
		text:   "OOM",
		server: privateServer(),
		begin:  func(b *bench) { b.do("CONFIG", "SET", "maxmemory", "1") },
		end:    func(b *bench) { b.do("CONFIG", "SET", "maxmemory", "0") },
	},
	"NOPERM": {
		text:   "NOPERM",
		server: privateServer(),
		begin:  func(b *bench) { b.do("ACL", "SETUSER", "default", "-xadd", "-xreadgroup") },
		end:    func(b *bench) { b.do("ACL", "SETUSER", "default", "+xadd", "+xreadgroup") },
	},
	"WRONGTYPE": {
		text:   "WRONGTYPE",
		server: privateServer(),
		begin: func(b *bench) {
			b.do("RENAME", b.topic, "aside")
			b.do("SET", b.topic, "")
		},
		end: func(b *bench) { b.do("RENAME", "aside", b.topic) },
	},
}

// What passes by itself is waited for by a Publish whose context has a deadline, and by subscriptions; what the user has
// to mend is said by Publish at once. Either way nothing is sent twice, and a subscription resumes when it is over, with a
// line in the log at the beginning and one at the end.
func TestTrouble(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBenchOn(t, trouble.server(t))
			var lines redistest.Log
			config := inGroupG()
			config.Client = b.client
			messages := b.subscribeLogged(config, &lines)
			publisher := openPublisher(t, redisstream.PublisherConfig{Client: b.client})
			require.NoError(t, publisher.Publish(b.topic, message.NewMessage("before", []byte("before"))))
			assert.Equal(t, []string{"before"}, receiveAll(t, messages, 1))
			b.eventually("acknowledged", func() bool { return b.pending() == 0 })

			trouble.begin(b)
			hasty := message.NewMessage("hasty", []byte("hasty"))
			failure := asPublishError(t, publisher.Publish(b.topic, hasty))
			assert.ErrorContains(t, failure, trouble.text)
			assert.Equal(t, []*message.Message{hasty}, failure.Failed)

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			patient := numbered("patient", 3)
			patient[1].SetContext(ctx)
			result := publishing(publisher, b.topic, patient...)
			want := []string{"patient-0", "patient-1", "patient-2"}
			if !trouble.passes {
				require.ErrorContains(t, redistest.Within(t, "Publish", result), trouble.text)
				want = nil
			}
			if trouble.text != "OOM" { // reading needs no memory
				b.eventually("noticed", func() bool { return lines.Count("reading from the stream failed") == 1 })
			}
			trouble.end(b)
			if trouble.passes {
				require.NoError(t, redistest.Within(t, "Publish", result))
			}
			require.NoError(t, publisher.Publish(b.topic, message.NewMessage("after", []byte("after"))))
			assert.Equal(t, append(want, "after"), receiveAll(t, messages, len(want)+1))
			b.eventually("acknowledged", func() bool { return b.pending() == 0 })
			nothingComes(t, messages, 10*time.Millisecond)
			assert.LessOrEqual(t, lines.Count("reading from the stream failed"), 1)
			assert.Equal(t, lines.Count("reading from the stream failed"), lines.Count("reading from the stream works again"))
		})
	}
}

// A Publish that waits for a server ends with its context, and tells what kept it waiting.
func TestPublish_givesUpAtTheDeadline(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	publisher := openPublisher(t, redisstream.PublisherConfig{Client: client})
	require.NoError(t, client.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	messages := numbered("late", 2)
	messages[0].SetContext(ctx)
	failure := asPublishError(t, publisher.Publish(ownTopic(t), messages...))
	assert.Equal(t, messages, append(failure.Failed, failure.Uncertain...), "uncertain if it ended in the middle of a try")
	assert.ErrorIs(t, failure, context.DeadlineExceeded)
	assert.ErrorContains(t, failure, "READONLY")
}

// What can be known when subscribing is said there.
func TestSubscribe_saysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.do("SET", b.topic, "")
	for name, config := range map[string]redisstream.SubscriberConfig{
		"group":             inGroupG(),
		"fan-out":           {},
		"fan-out from 0":    {StartID: "0"},
		"fan-out behind ID": {StartID: "1-1"},
	} {
		_, err := b.subscriber(config).Subscribe(t.Context(), b.topic)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		require.ErrorContains(t, err, b.topic, name)
	}
	require.ErrorContains(t, b.subscriber(inGroupG()).SubscribeInitialize(b.topic), "WRONGTYPE")
}
