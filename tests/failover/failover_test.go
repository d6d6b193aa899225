package failover

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
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

// resumeWithin bounds how long publishing and consuming stop after the election of a new master.
const resumeWithin = 5 * time.Second

// flow publishes messages one at a time, each until Publish returns nil, and acks them in a
// subscription.
type flow struct {
	*testing.T
	topic     string
	publisher *redisstream.Publisher

	mu        sync.Mutex
	published []time.Time // by number, when Publish returned nil
	received  map[int]time.Time
	order     []int // numbers in the order of first deliveries
	again     int   // repeated deliveries
	failures  []error
	stopped   bool
	ended     chan struct{}
}

// startFlow starts a flow with a client to publish and a client to subscribe.
func startFlow(t *testing.T, from, to redis.UniversalClient, config redisstream.PublisherConfig) *flow {
	t.Helper()
	f := &flow{T: t, topic: fixture.NewTopic(t), received: map[int]time.Time{}, ended: make(chan struct{})}
	config.Client = from
	f.publisher = fixture.OpenPublisher(t, config)
	b := &fixture.Bench{T: t, Topic: f.topic}
	group := fixture.GroupConfig()
	group.Client = to
	_, messages := b.Subscribe(group)
	go f.receive(messages)
	go f.publish()
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *flow) receive(messages <-chan *message.Message) {
	for msg := range messages {
		n, _ := strconv.Atoi(string(msg.Payload))
		f.mu.Lock()
		if _, again := f.received[n]; !again {
			f.received[n] = time.Now()
			f.order = append(f.order, n)
		} else {
			f.again++
		}
		f.mu.Unlock()
		msg.Ack()
	}
}

func (f *flow) publish() {
	defer close(f.ended)
	for n := 0; ; n++ {
		for {
			f.mu.Lock()
			publisher, stopped := f.publisher, f.stopped
			f.mu.Unlock()
			if stopped {
				return
			}
			err := publisher.Publish(f.topic, message.NewMessage(strconv.Itoa(n), []byte(strconv.Itoa(n))))
			f.mu.Lock()
			if err == nil {
				f.published = append(f.published, time.Now())
				f.mu.Unlock()
				break
			}
			f.failures = append(f.failures, err)
			f.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Millisecond)
	}
}

// change continues with a Publisher without WaitReplicas.
func (f *flow) change(client redis.UniversalClient) {
	publisher := fixture.OpenPublisher(f.T, redisstream.PublisherConfig{Client: client})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.publisher = publisher
}

// stop stops publishing, and returns the number of published messages.
func (f *flow) stop() int {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	<-f.ended
	return len(f.published)
}

// awaitProgress waits until n more messages are published and received.
func (f *flow) awaitProgress(n int) {
	f.Helper()
	f.mu.Lock()
	target := len(f.published) + n
	f.mu.Unlock()
	require.Eventually(f, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, ok := f.received[target-1]
		return ok
	}, 2*fixture.Soon, time.Millisecond, "progress")
}

// resumed returns how long after a time the first message was published, and the first message of
// these was received.
func (f *flow) resumed(since time.Time) (published, received time.Duration) {
	f.Helper()
	require.Eventually(f, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for n := len(f.published) - 1; n >= 0 && f.published[n].After(since); n-- {
			if at := f.received[n]; at.After(since) { // a message without a reply may have been received before
				published, received = f.published[n].Sub(since), at.Sub(since)
			}
		}
		return received > 0
	}, 6*fixture.Soon, 20*time.Millisecond, "messages after the failover")
	return published, received
}

// complete stops the flow, and checks that all published messages arrived in order.
func (f *flow) complete() {
	f.Helper()
	total := f.stop()
	missing := func() (list []int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for n := range total {
			if _, ok := f.received[n]; !ok {
				list = append(list, n)
			}
		}
		return list
	}
	if !assert.Eventually(f, func() bool { return len(missing()) == 0 }, fixture.Soon, 5*time.Millisecond) {
		require.Empty(f, missing(), "of %d", total)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	assert.IsIncreasing(f, f.order)
}

// topology is a set of servers with a failover.
type topology struct {
	replicas int // of each master
	client   func() redis.UniversalClient
	master   func(topic string) *redistest.Server
	failover func(topic string, old *redistest.Server) *redistest.Server
}

func sentinels(t *testing.T) topology {
	t.Helper()
	set := redistest.StartSentinelSet(t)
	return topology{
		replicas: 2,
		client:   func() redis.UniversalClient { return fixture.ConnectTo(t, set.URL()) },
		master:   func(string) *redistest.Server { return set.Master(t) },
		failover: func(_ string, old *redistest.Server) *redistest.Server { return set.AwaitFailover(t, old) },
	}
}

func cluster(t *testing.T, connect bool) topology {
	t.Helper()
	cluster := redistest.StartFullCluster(t)
	client := func() redis.UniversalClient { return cluster.Client(t) }
	if connect {
		client = func() redis.UniversalClient { return fixture.ConnectTo(t, cluster.URL()) }
	}
	return topology{
		replicas: 1,
		client:   client,
		master:   func(topic string) *redistest.Server { return cluster.Master(t, topic) },
		failover: func(topic string, old *redistest.Server) *redistest.Server {
			return cluster.AwaitFailover(t, topic, old)
		},
	}
}

var topologies = map[string]func(*testing.T) topology{
	"sentinel":                    sentinels,
	"cluster, Connect":            func(t *testing.T) topology { t.Helper(); return cluster(t, true) },
	"cluster, go-redis' defaults": func(t *testing.T) topology { t.Helper(); return cluster(t, false) },
}

// The master dies or hangs. Publishing and consuming resume soon after the election. Messages that
// all replicas confirmed are not lost.
func TestFailover(t *testing.T) {
	t.Parallel()
	for name, start := range topologies {
		for fault, strike := range map[string]func(*redistest.Server){
			"killed": (*redistest.Server).Kill,
			"hangs":  (*redistest.Server).Pause,
		} {
			within := resumeWithin
			if fault == "hangs" {
				within += 5 * time.Second // ReadTimeout of the clients
			}
			t.Run(name+", master "+fault, func(t *testing.T) {
				t.Parallel()
				servers := start(t)
				client := servers.client()
				f := startFlow(t, client, servers.client(), redisstream.PublisherConfig{WaitReplicas: servers.replicas})
				f.awaitProgress(200)
				old := servers.master(f.topic)
				began := time.Now()
				strike(old)
				f.change(client) // the new master has fewer replicas
				servers.failover(f.topic, old)
				elected := time.Now()
				published, received := f.resumed(elected)
				t.Logf("elected after %v; since then published after %v, received after %v; %d calls failed",
					elected.Sub(began), published, received, len(f.failures))
				assert.Less(t, published, within)
				assert.Less(t, received, within)
				f.awaitProgress(200)
				f.complete()
			})
		}
	}
}

// The slot of a stream moves while the stream is written and read.
func TestFailover_slotMoves(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]redisstream.PublisherConfig{"plain": {}, "with WAIT": {WaitReplicas: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartFullCluster(t)
			f := startFlow(t, cluster.Client(t), cluster.Client(t), config)
			f.awaitProgress(100)
			for range 3 {
				move := cluster.BeginMove(t, f.topic, cluster.Other(t, f.topic))
				f.awaitProgress(50)
				move.Keys()
				f.awaitProgress(50) // while the server redirects with ASK
				move.End()
				moved := time.Now()
				published, received := f.resumed(moved)
				t.Logf("since the move published after %v, received after %v", published, received)
				assert.Less(t, published, resumeWithin)
				assert.Less(t, received, resumeWithin)
				f.awaitProgress(100)
			}
			f.complete()
			for _, err := range f.failures {
				assert.NoError(t, err)
			}
			assert.Zero(t, f.again, "the group always existed")
		})
	}
}

// The promoted replica is behind. Its entries that are not acknowledged there are delivered in
// order, although its group is older than ours or missing.
func TestFailover_replicaIsBehind(t *testing.T) {
	t.Parallel()
	for name, withGroup := range map[string]bool{"with the group": true, "without the group": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, replicas := replicated(t, 1)
			var current atomic.Pointer[redistest.Server]
			current.Store(master)
			client := master.Client(t, func(o *redis.Options) {
				o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, current.Load().Addr)
				}
			})
			b := &fixture.Bench{T: t, Server: master, Client: client, Topic: fixture.NewTopic(t)}
			replica := &fixture.Bench{T: t, Server: replicas[0], Client: replicas[0].Client(t), Topic: b.Topic}
			cutOff := func() { require.NoError(t, replica.Client.Do(t.Context(), "replicaof", "no", "one").Err()) }
			b.Publish(10)
			replica.Eventually("replicated", func() bool { return replica.Client.XLen(t.Context(), b.Topic).Val() == 10 })
			if !withGroup {
				cutOff()
			}
			_, messages := b.Subscribe(fixture.FastClaimConfig())
			fixture.ReceiveAll(t, messages, 3)
			if withGroup {
				replica.Eventually("the group is replicated", func() bool {
					groups := replica.Client.XInfoGroups(t.Context(), b.Topic).Val()
					return len(groups) == 1 && groups[0].LastDeliveredID != "0-0"
				})
				cutOff()
			}
			fixture.ReceiveAll(t, messages, 3)
			b.AwaitTwoScans()
			b.Publish(5) // lost with the master
			current.Store(replica.Server)
			master.Kill()
			replica.Publish(11)
			seen := map[string]bool{}
			replica.Eventually("all are acknowledged", func() bool {
				select {
				case msg := <-messages:
					seen[string(msg.Payload)] = true
					msg.Ack()
				default:
				}
				return len(seen) >= 5 && seen["10"] && replica.Pending() == 0
			})
			for _, payload := range fixture.Payloads(11)[6:] {
				assert.True(t, seen[payload], payload)
			}
		})
	}
}

// movable is a subscription and a Publisher on a cluster in which the slot of their topic may move.
type movable struct {
	*fixture.Bench

	cluster   *redistest.Cluster
	client    *redis.ClusterClient
	log       redistest.Log // of the subscription
	messages  <-chan *message.Message
	publisher *redisstream.Publisher
}

func startMovable(t *testing.T, config redisstream.SubscriberConfig) *movable {
	t.Helper()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	m := &movable{Bench: &fixture.Bench{T: t, Topic: fixture.NewTopic(t)}, cluster: cluster, client: cluster.Client(t)}
	config.Client = m.client
	m.messages = m.SubscribeLogged(config, &m.log)
	m.publisher = fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: m.client})
	return m
}

func (m *movable) publish() {
	m.Helper()
	require.NoError(m, m.publisher.Publish(m.Topic, fixture.Numbered("a", 1)...))
}

// arrives publishes a message, and receives it.
func (m *movable) arrives() {
	m.Helper()
	m.publish()
	fixture.ReceiveAll(m.T, m.messages, 1)
}

// move begins to move the slot to another server.
func (m *movable) move() *redistest.Move {
	m.Helper()
	return m.cluster.BeginMove(m, m.Topic, m.cluster.Other(m, m.Topic))
}

// While the server redirects with ASK, a subscription reads the state of its group again and again.
func TestFailover_scansWhileASlotMoves(t *testing.T) {
	t.Parallel()
	config := fixture.FastClaimConfig()
	m := startMovable(t, config)
	m.arrives()
	move := m.move()
	m.arrives()
	move.Keys()
	for range 10 {
		m.arrives()
		time.Sleep(2 * config.ClaimInterval) // so that it scans
	}
	move.End()
	m.arrives()
	assert.Zero(t, m.log.Count("failed; retrying"))
}

// While a slot moves, its old server does not say whether the group is paused: it has no such key.
// Reading goes on, and a pause stays.
func TestCluster_slotMovesWhileAGroupMayBePaused(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{fixture.FastClaimConfig().ClaimInterval, time.Hour} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			config := fixture.FastClaimConfig()
			config.ClaimInterval = interval
			m := startMovable(t, config)
			m.arrives()
			move := m.move()
			time.Sleep(2500 * time.Millisecond) // so that it looks
			m.arrives()
			assert.Zero(t, m.log.Count("failed; retrying"))
			move.Keys()
			move.End()
			key := redisstream.PauseKey(m.Topic, config.ConsumerGroup)
			require.NoError(t, m.client.Set(t.Context(), key, "{}", 0).Err())
			require.Eventually(t, func() bool { return m.log.Count("the subscription is paused") == 1 }, fixture.Soon, 10*time.Millisecond)
			m.publish()
			move = m.move()
			move.Key(key)
			select {
			case <-m.messages:
				require.Fail(t, "a message came while the group was paused")
			case <-time.After(2500 * time.Millisecond):
			}
			move.Keys()
			move.End()
			require.NoError(t, m.client.Del(t.Context(), key).Err())
			fixture.ReceiveAll(t, m.messages, 1)
		})
	}
}
