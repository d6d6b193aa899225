package delayed

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// schedule schedules a message by a Publisher that is closed at once.
func schedule(t *testing.T, b *fixture.Bench, wait time.Duration) {
	t.Helper()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: b.Client}, nil)
	require.NoError(t, err)
	require.NoError(t, publisher.Publish(b.Topic, delayed("later", wait)))
	require.NoError(t, publisher.Close())
}

// Each kind of subscription moves what a Publisher scheduled that is gone, late by at most
// ClaimInterval.
func TestDelayed_subscriptionsMove(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]redisstream.SubscriberConfig{
		"group":     {ConsumerGroup: "g"},
		"auto-ack":  {ConsumerGroup: "g", AutoAck: true},
		"never":     {ConsumerGroup: "g", ClaimInterval: -1},
		"a fan-out": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			config.CloseTimeout = time.Second
			_, messages := b.Subscribe(config)
			const wait = 50 * time.Millisecond
			began := time.Now()
			schedule(t, b, wait)
			_, came := handled(t, messages)
			assert.GreaterOrEqual(t, came.Sub(began), wait)
			assert.Less(t, came.Sub(began), wait+redisstream.DefaultClaimInterval*5/4+time.Second)
		})
	}
}

// A subscription knows when the next message is due, and does not wait for its next look.
func TestDelayed_subscriptionsMoveInTime(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	schedule(t, b, 600*time.Millisecond)
	began := time.Now()
	config := group("g")
	config.ClaimInterval, config.ClaimMinIdle = 5*time.Second, time.Minute
	_, messages := b.Subscribe(config)
	_, came := handled(t, messages)
	assert.Less(t, came.Sub(began), 3*time.Second)
}

func TestDelayed_schedulerMovesWhereNobodySubscribes(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	schedule(t, b, 100*time.Millisecond)
	scheduler, err := redisstream.NewScheduler(redisstream.SchedulerConfig{Client: b.Client, Topics: []string{b.Topic, "other"}}, nil)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- scheduler.Run(ctx) }()
	b.Eventually("moved", func() bool { return b.Len() == 1 })
	schedule(t, b, 100*time.Millisecond)
	b.Eventually("moved again", func() bool { return b.Len() == 2 })
	stop()
	require.NoError(t, redistest.Within(t, "the end", ended))
}

func TestScheduler_config(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for field, config := range map[string]redisstream.SchedulerConfig{
		"Client":   {Topics: []string{"a"}},
		"Topics":   {Client: b.Client},
		"Interval": {Client: b.Client, Topics: []string{"a"}, Interval: -1},
	} {
		_, err := redisstream.NewScheduler(config, nil)
		require.ErrorIs(t, err, redisstream.ErrInvalidConfig)
		assert.ErrorContains(t, err, "SchedulerConfig."+field)
	}
}

// Many subscriptions and publishers move each message once.
func TestDelayed_movedOnce(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	const publishers, each = 4, 250
	for i := range 4 {
		b.Subscribe(group(fmt.Sprint("g", i)))
	}
	for i := range publishers {
		publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
		for j := range each {
			require.NoError(t, publisher.Publish(b.Topic, delayed(fmt.Sprint(i, "-", j), time.Duration(j)*time.Millisecond+time.Millisecond)))
		}
	}
	b.Eventually("all are moved", func() bool { return b.Client.Exists(t.Context(), redisstream.DelayedKey(b.Topic)).Val() == 0 })
	stored := fixture.StoredUUIDs(t, b.Client, b.Topic)
	unique := map[string]bool{}
	for _, uuid := range stored {
		unique[uuid] = true
	}
	assert.Len(t, stored, publishers*each)
	assert.Len(t, unique, publishers*each)
}

// A member of the set that no Publisher wrote stops nothing.
func TestDelayed_unreadableMembers(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for _, member := range []string{"", "x", "5:ab", "1:a", "-1:a1:b0:1:c1:d", "1:a0:0:1:b", "99999999999999999999:a"} {
		require.NoError(t, b.Client.ZAdd(t.Context(), redisstream.DelayedKey(b.Topic), redis.Z{Member: member}).Err())
	}
	var log redistest.Log
	config := group("g")
	config.Client = b.Client
	messages := b.SubscribeLogged(config, &log)
	schedule(t, b, time.Millisecond)
	uuid, _ := handled(t, messages)
	assert.Equal(t, "later", uuid)
	assert.EqualValues(t, 7, b.Client.ZCard(t.Context(), redisstream.DelayedKey(b.Topic)).Val())
	assert.NotZero(t, log.Count("members that are none"))
}

// What was scheduled survives a restart of the server and an outage.
func TestDelayed_serverRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Durable...)
	b := fixture.NewOn(t, server)
	_, messages := b.Subscribe(group("g"))
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	require.NoError(t, publisher.Publish(b.Topic, delayed("later", 300*time.Millisecond)))
	server.Kill()
	time.Sleep(400 * time.Millisecond) // it is due while the server is away
	server.Restart(t)
	uuid, _ := handled(t, messages)
	assert.Equal(t, "later", uuid)
}

// The reply to the schedule is lost: the message is Uncertain, and comes once. A lost reply to the
// mover changes nothing.
func TestDelayed_lostReplies(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Client.Options().Addr, 0)
	client := b.Client
	lossy := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: -1, PoolSize: 1})
	t.Cleanup(func() { require.NoError(t, lossy.Close()) })
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: lossy})
	require.NoError(t, publisher.Publish(b.Topic, delayed("first", time.Millisecond)))
	b.Eventually("the first is moved", func() bool { return b.Len() == 1 })
	require.NoError(t, lossy.Ping(t.Context()).Err(), "the mover has its reply, and does not use the connection")
	proxy.OnReply(func([]byte) (int, bool) { return 0, true })
	err := publisher.Publish(b.Topic, delayed("second", 20*time.Millisecond))
	assert.Len(t, fixture.AsPublishError(t, err).Uncertain, 1)
	time.Sleep(100 * time.Millisecond) // the mover's replies are lost too
	proxy.OnReply(func(chunk []byte) (int, bool) { return len(chunk), false })
	b.Eventually("both are moved", func() bool { return b.Len() == 2 })
	require.NoError(t, publisher.Publish(b.Topic, delayed("third", time.Millisecond)))
	b.Eventually("the mover works again", func() bool { return b.Len() == 3 })
	assert.Equal(t, []string{"first", "second", "third"}, fixture.StoredUUIDs(t, client, b.Topic))
}

// A Scheduler logs a failure once, however often it looks, and that it is over.
func TestScheduler_logsAnOutageOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 })
	looks := make(chan error, 1000)
	client.AddHook(hook(func(command redis.Cmder, err error) {
		if command.Name() == "exists" {
			looks <- err
		}
	}))
	var log redistest.Log
	scheduler, err := redisstream.NewScheduler(redisstream.SchedulerConfig{
		Client: client, Topics: []string{"orders"}, Interval: 10 * time.Millisecond,
	}, log.Logger())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- scheduler.Run(ctx) }()
	require.NoError(t, redistest.Within(t, "a look", looks))
	server.Kill()
	for failures := 0; failures < 5; {
		if redistest.Within(t, "a look", looks) != nil {
			failures++
		}
	}
	server.Restart(t)
	works := false
	for !works {
		works = redistest.Within(t, "a look", looks) == nil
	}
	require.NoError(t, redistest.Within(t, "the look after it", looks))
	assert.Equal(t, 1, log.Count("looking for delayed messages failed"))
	assert.Equal(t, 1, log.Count("looking for delayed messages works again"))
	stop()
	require.NoError(t, redistest.Within(t, "the end", ended))
}

// hook is called after each command, also of a pipeline.
type hook func(command redis.Cmder, err error)

func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, command)
		h(command, err)
		return err
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		err := next(ctx, commands)
		for _, command := range commands {
			h(command, command.Err())
		}
		return err
	}
}
