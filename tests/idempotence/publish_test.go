package idempotence

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The reply to a call is lost, in the way in which a Publisher sends first and in the way in which it
// sends later.
func TestIdempotent_oneLostReply(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*redisstream.PublisherConfig){
		"plain":        func(*redisstream.PublisherConfig) {},
		"MaxLen":       func(c *redisstream.PublisherConfig) { c.MaxLen = 1_000_000 },
		"MaxAge":       func(c *redisstream.PublisherConfig) { c.MaxAge = time.Hour },
		"deduplicated": func(c *redisstream.PublisherConfig) { c.DeduplicationWindow = time.Hour },
	}
	for name, change := range changes {
		for _, n := range []int{1, 3, 250} {
			t.Run(fmt.Sprintf("%s, %d messages", name, n), func(t *testing.T) {
				t.Parallel()
				b := fixture.New(t)
				publisher, proxy := throughProxy(b, change)
				var want []string
				for call := range 3 {
					loseReplies(proxy, once())
					messages := fixture.Numbered(fmt.Sprint(call), n)
					require.NoError(t, publisher.Publish(b.Topic, messages...))
					want = append(want, fixture.UUIDs(messages)...)
				}
				assert.Equal(t, want, fixture.StoredUUIDs(t, b.Client, b.Topic))
				assert.Zero(t, publisher.Duplicates())
			})
		}
	}
}

func TestIdempotent_largeMessages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	for _, size := range []int{100_000, 2 << 20} {
		for range 2 {
			loseReplies(proxy, once())
			msg := message.NewMessage("large", bytes.Repeat([]byte("x"), size))
			require.NoError(t, publisher.Publish(b.Topic, msg))
		}
	}
	assert.EqualValues(t, 4, b.Len())
}

// Servers without XADD IDMP, and pipelines that it can't take, get the script. Others get XADD IDMP
// from the second pipeline on.
func TestIdempotent_ways(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	var idmp, scripts atomic.Int64
	proxy.OnSend(func(chunk []byte) (int, bool) {
		idmp.Add(int64(bytes.Count(chunk, []byte("\r\nidmp\r\n"))))
		scripts.Add(int64(bytes.Count(chunk, []byte("\r\nevalsha\r\n"))))
		return len(chunk), false
	})
	for range 10 {
		require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 1)...))
	}
	info := b.Client.Do(t.Context(), "xinfo", "stream", b.Topic).String()
	if strings.Contains(info, "idmp-maxsize") {
		assert.EqualValues(t, 9, idmp.Load())
		assert.EqualValues(t, 1, scripts.Load())
		scripts.Store(0)
		later := message.NewMessage("later", nil)
		delay.Message(later, delay.For(time.Hour))
		require.NoError(t, publisher.Publish(b.Topic, later, message.NewMessage("now", nil)))
		assert.EqualValues(t, 1, scripts.Load(), "a delayed message")
	} else {
		assert.Zero(t, idmp.Load())
		assert.EqualValues(t, 10, scripts.Load())
	}
}

// A stream whose window for XADD IDMP is smaller than by default gets the script.
func TestIdempotent_smallWindow(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Do("xadd", b.Topic, "*", "a", "b")
	if err := b.Client.Do(t.Context(), "xcfgset", b.Topic, "idmp-maxsize", 10).Err(); err != nil {
		t.Log("the server has no XADD IDMP:", err)
		return
	}
	publisher, proxy := throughProxy(b)
	var idmp atomic.Int64
	proxy.OnSend(func(chunk []byte) (int, bool) {
		idmp.Add(int64(bytes.Count(chunk, []byte("\r\nidmp\r\n"))))
		return len(chunk), false
	})
	for range 3 {
		require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 50)...))
	}
	assert.Zero(t, idmp.Load())
	assert.EqualValues(t, 151, b.Len())
}

// A copy of a message arrives after 1,000 others.
func TestIdempotent_lateCopy(t *testing.T) {
	t.Parallel()
	for name, warm := range map[string]int{"script": 0, "XADD IDMP": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			publisher, proxy := throughProxy(b)
			for i := range warm {
				require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered(fmt.Sprint("warm", i), 1)...))
			}
			var copied atomic.Pointer[[]byte]
			first := once()
			proxy.OnSend(func(chunk []byte) (int, bool) {
				if bytes.Contains(chunk, []byte("late-0")) && first() {
					late := bytes.Clone(chunk)
					copied.Store(&late)
					return 0, true
				}
				return len(chunk), false
			})
			require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("late", 1)...))
			for i := range 1000 {
				require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered(fmt.Sprint(i), 1)...))
			}
			conn, err := net.Dial("tcp", b.Server.Addr)
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Write(*copied.Load())
			require.NoError(t, err)
			reply := make([]byte, 100)
			n, err := conn.Read(reply)
			require.NoError(t, err)
			assert.Equal(t, "$", string(reply[:1]), "%s", reply[:n])
			assert.EqualValues(t, 1001+warm, b.Len())
		})
	}
}

func TestIdempotent_contextEndsWhileRetrying(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("warm", 1)...))
	loseReplies(proxy, func() bool { return true })
	ctx, cancel := context.WithCancel(t.Context())
	messages := fixture.Numbered("m", 3)
	messages[1].SetContext(ctx)
	result := fixture.GoPublish(publisher, b.Topic, messages...)
	other := fixture.GoPublish(publisher, b.Topic, fixture.Numbered("other", 1)...)
	b.Eventually("an attempt of each", func() bool { return b.Len() == 5 })
	cancel()
	err := redistest.Within(t, "Publish", result)
	failure := fixture.AsPublishError(t, err)
	assert.Equal(t, messages, failure.Uncertain)
	require.ErrorIs(t, err, context.Canceled)
	proxy.OnReply(nil)
	require.NoError(t, redistest.Within(t, "the other call", other))
	assert.Len(t, fixture.StoredUUIDs(t, b.Client, b.Topic), 5, "each is there once")
}

func TestIdempotent_closeWhileRetrying(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	lost := make(chan struct{}, 100)
	proxy.OnReply(func(chunk []byte) (int, bool) {
		if isReply(chunk) {
			lost <- struct{}{}
			return 0, true
		}
		return len(chunk), false
	})
	messages := fixture.Numbered("m", 2)
	result := fixture.GoPublish(publisher, b.Topic, messages...)
	for range 3 {
		redistest.Within(t, "an attempt", lost)
	}
	began := time.Now()
	require.NoError(t, publisher.Close())
	assert.Less(t, time.Since(began), time.Second)
	err := redistest.Within(t, "Publish", result)
	require.ErrorIs(t, err, redisstream.ErrPublisherClosed)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Uncertain)
}

// What could not be written is tried again three times, and fails for certain.
func TestIdempotent_nobodyListens(t *testing.T) {
	t.Parallel()
	var dials atomic.Int64
	client := redis.NewClient(&redis.Options{
		DialerRetries: 1, MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
		},
	})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Idempotent: true})
	messages := fixture.Numbered("m", 2)
	failure := fixture.AsPublishError(t, publisher.Publish("topic", messages...))
	assert.Equal(t, messages, failure.Failed)
	assert.EqualValues(t, 4, dials.Load())

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	messages[0].SetContext(ctx)
	err := publisher.Publish("topic", messages...)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// Three handshakes break.
func TestIdempotent_brokenHandshakes(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	var cuts atomic.Int64
	proxy.OnSend(func(chunk []byte) (int, bool) { return len(chunk), cuts.Add(1) <= 3 })
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 2)...))
	assert.EqualValues(t, 2, b.Len())
}

// The server writes each command to its file, loses the reply and restarts.
func TestIdempotent_serverRestarts(t *testing.T) {
	t.Parallel()
	for name, warm := range map[string]int{"script": 0, "XADD IDMP": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.NewOn(t, redistest.Start(t, redistest.Durable...))
			publisher, proxy := throughProxy(b)
			for i := range warm {
				require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered(fmt.Sprint("warm", i), 1)...))
			}
			loseReplies(proxy, func() bool {
				b.Server.Kill()
				return true
			})
			messages := fixture.Numbered("m", 3)
			result := fixture.GoPublish(publisher, b.Topic, messages...)
			b.Eventually("the reply is lost", func() bool { return b.Client.Ping(t.Context()).Err() != nil })
			proxy.OnReply(nil)
			b.Server.Restart(t)
			require.NoError(t, redistest.Within(t, "Publish", result))
			assert.Len(t, fixture.StoredUUIDs(t, b.Client, b.Topic), warm+3)
		})
	}
}

// The replica has the entries and becomes the master while their reply is lost.
func TestIdempotent_failover(t *testing.T) {
	t.Parallel()
	for name, warm := range map[string]int{"script": 0, "XADD IDMP": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, replica := redistest.Start(t), redistest.Start(t)
			b := fixture.NewOn(t, master)
			other := replica.Client(t)
			host, port, _ := net.SplitHostPort(master.Addr)
			require.NoError(t, other.ReplicaOf(t.Context(), host, port).Err())
			b.Eventually("the replica is connected", func() bool { return b.Client.Wait(t.Context(), 1, time.Second).Val() == 1 })
			proxy := redistest.NewProxy(t, master.Addr, 0)
			var promoted atomic.Bool
			client := redis.NewClient(&redis.Options{Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
				addr := proxy.Addr
				if promoted.Load() {
					addr = replica.Addr
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}})
			t.Cleanup(func() { require.NoError(t, client.Close()) })
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Idempotent: true})
			for i := range warm {
				require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered(fmt.Sprint("warm", i), 1)...))
			}
			loseReplies(proxy, func() bool {
				for other.XLen(context.Background(), b.Topic).Val() < int64(warm+3) {
					time.Sleep(time.Millisecond)
				}
				other.ReplicaOf(context.Background(), "NO", "ONE")
				promoted.Store(true)
				return true
			})
			require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 3)...))
			assert.Len(t, fixture.StoredUUIDs(t, other, b.Topic), warm+3)
			require.True(t, promoted.Load())
		})
	}
}

func TestIdempotent_delayedMessages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	var replies atomic.Int64
	loseReplies(proxy, func() bool { return replies.Add(1)%2 == 1 })
	const n = 100
	for i := range n {
		msg := message.NewMessage(fmt.Sprint("m-", i), nil)
		delay.Message(msg, delay.For(time.Millisecond))
		require.NoError(t, publisher.Publish(b.Topic, msg))
	}
	proxy.OnReply(nil)
	b.Eventually("all are moved", func() bool { return b.Len() >= n })
	require.NoError(t, publisher.Close())
	assert.Zero(t, b.Client.ZCard(t.Context(), redisstream.DelayedKey(b.Topic)).Val())
	checkOrder(t, fixture.StoredUUIDs(t, b.Client, b.Topic))
	assert.EqualValues(t, n, b.Len())
}

// The replica confirms the entries, though their first reply was lost.
func TestIdempotent_waitReplicas(t *testing.T) {
	t.Parallel()
	master, replica := redistest.Start(t), redistest.Start(t)
	b := fixture.NewOn(t, master)
	host, port, _ := net.SplitHostPort(master.Addr)
	require.NoError(t, replica.Client(t).ReplicaOf(t.Context(), host, port).Err())
	b.Eventually("the replica is connected", func() bool { return b.Client.Wait(t.Context(), 1, time.Second).Val() == 1 })
	publisher, proxy := throughProxy(b, func(c *redisstream.PublisherConfig) {
		c.WaitReplicas, c.WaitTimeout = 1, 200*time.Millisecond
	})
	for call := range 3 {
		loseReplies(proxy, once())
		require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered(fmt.Sprint(call), 2)...))
	}
	replica.Pause()
	t.Cleanup(replica.Resume)
	loseReplies(proxy, once())
	messages := fixture.Numbered("unconfirmed", 1)
	err := publisher.Publish(b.Topic, messages...)
	require.ErrorIs(t, err, redisstream.ErrNotReplicated)
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Uncertain)
	assert.EqualValues(t, 7, b.Len())
}

// The memory of the server is full. A refusal is an answer, also after a lost reply.
func TestIdempotent_refusals(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, proxy := throughProxy(b)
	b.Do("set", b.Topic, "no stream")
	loseReplies(proxy, once())
	messages := fixture.Numbered("m", 3)
	err := publisher.Publish(b.Topic, messages...)
	require.ErrorContains(t, err, "WRONGTYPE")
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	b.Do("del", b.Topic)
	require.NoError(t, publisher.Publish(b.Topic, messages...))
	assert.EqualValues(t, 3, b.Len())
}

func TestIdempotent_fullServer(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	publisher, proxy := throughProxy(b)
	for call := range 3 {
		b.Do("config", "set", "maxmemory", 0)
		loseReplies(proxy, once())
		result := fixture.GoPublish(publisher, b.Topic, fixture.Numbered(fmt.Sprint(call), 2)...)
		require.NoError(t, redistest.Within(t, "Publish", result))
		b.Do("config", "set", "maxmemory", 1, "maxmemory-policy", "noeviction")
		failure := fixture.AsPublishError(t, publisher.Publish(b.Topic, fixture.Numbered("full", 2)...))
		assert.Len(t, failure.Failed, 2)
		require.ErrorContains(t, failure, "OOM")
	}
	b.Do("config", "set", "maxmemory", 0)
	assert.EqualValues(t, 6, b.Len())
}

func TestIdempotent_slotMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	topic := fixture.NewTopic(t)
	to := cluster.Other(t, topic)
	var lost atomic.Int64
	proxies := map[string]*redistest.Proxy{}
	for _, node := range cluster.Nodes {
		proxies[node.Addr] = redistest.NewProxy(t, node.Addr, 0)
		loseReplies(proxies[node.Addr], func() bool { return lost.Add(1)%7 == 0 })
	}
	client := cluster.Client(t, func(o *redis.ClusterOptions) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, proxies[addr].Addr)
		}
	})
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Idempotent: true})
	published := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				published <- n
				return
			default:
				assert.NoError(t, publisher.Publish(topic, numberedFrom("m", n, 1)...))
			}
		}
	}()
	time.Sleep(100 * time.Millisecond)
	cluster.MoveSlot(t, topic, to)
	time.Sleep(300 * time.Millisecond)
	close(stop)
	n := <-published
	stored := fixture.StoredUUIDs(t, to.Client(t), topic)
	assert.Len(t, stored, n)
	checkOrder(t, stored)
}

func TestIdempotent_topicWithoutASlot(t *testing.T) {
	t.Parallel()
	server := redistest.StartCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Idempotent: true})
	messages := fixture.Numbered("m", 1)
	err := publisher.Publish("a}b", messages...)
	require.ErrorContains(t, err, "hash tag")
	assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
	require.NoError(t, publisher.Publish("a{x}b", messages...))
}

func TestIdempotent_manyFields(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher, _ := throughProxy(b, func(c *redisstream.PublisherConfig) {
		c.Marshaler = redisstream.PlainMarshaler{}
		c.MaxLen = 1000
	})
	msg := message.NewMessage("wide", nil)
	for i := range 3000 {
		msg.Metadata.Set(fmt.Sprint("key", i), "v")
	}
	require.NoError(t, publisher.Publish(b.Topic, msg))
	for i := range 4000 {
		msg.Metadata.Set(fmt.Sprint("key", i), "v")
	}
	require.ErrorContains(t, publisher.Publish(b.Topic, msg), "fields")
}
