package inspecting

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// eventually waits until the group "g" is as the condition wants it, and returns it.
func eventually(b *fixture.Bench, a *admin.Admin, condition func(admin.Group) bool) (g admin.Group) {
	b.Helper()
	b.Eventually("the state", func() bool {
		var err error
		g, err = a.Group(b.Context(), b.Topic, "g")
		require.NoError(b, err)
		return condition(g)
	})
	return g
}

// reporting is a configuration whose members report each second.
func reporting() redisstream.SubscriberConfig {
	config := fixture.GroupConfig()
	config.ClaimMinIdle = 3 * time.Second
	config.NackBackoff = func(int) time.Duration { return time.Millisecond }
	return config
}

// A strict subscriber whose handler nacks one message for ever blocks its group. A group without
// members blocks trimming. The table of issue 11 shows both.
func TestGroups_blockedAndAbandoned(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	b.Do("XGROUP", "CREATE", b.Topic, "audit", "0", "MKSTREAM")
	_, messages := b.Subscribe(reporting())
	b.Publish(50)
	go func() {
		for msg := range messages {
			msg.Nack()
		}
	}()
	entries, err := b.Client.XRangeN(t.Context(), b.Topic, "-", "+", 1).Result()
	require.NoError(t, err)
	kitchen := eventually(b, a, func(g admin.Group) bool { return g.State == admin.GroupBlocked })
	assert.Equal(t, entries[0].ID, kitchen.BlockedBy)
	assert.Equal(t, entries[0].ID, kitchen.OldestID)
	assert.Equal(t, 1, kitchen.Members)
	assert.Positive(t, kitchen.OldestAge)
	assert.Greater(t, kitchen.MaxDeliveries, int64(1))
	assert.Equal(t, int64(50), kitchen.Lag.N+kitchen.Pending)
	assert.Equal(t, admin.LagExact, kitchen.Lag.Exact)
	assert.Contains(t, kitchen.Describe(), "blocked by "+entries[0].ID)

	audit, err := a.Group(t.Context(), b.Topic, "audit")
	require.NoError(t, err)
	assert.Equal(t, admin.GroupAbandoned, audit.State)
	assert.Equal(t, "abandoned, blocks trimming", audit.Describe())
	assert.Zero(t, audit.Members)
	assert.Equal(t, admin.Lag{N: 50, Exact: admin.LagExact}, audit.Lag)

	consumers, err := a.Consumers(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	require.Len(t, consumers, 1)
	assert.True(t, consumers[0].Reports)
	assert.Equal(t, admin.ConsumerWorking, consumers[0].State)
	assert.NotZero(t, consumers[0].PID)
}

// Renewals hide a handler that hangs from XPENDING, but not from Held.
func TestConsumers_hung(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a, err := admin.New(admin.Config{Client: b.Client, HungAfter: 500 * time.Millisecond})
	require.NoError(t, err)
	_, messages := b.Subscribe(reporting())
	b.Publish(1)
	hangs := fixture.Receive(t, messages)
	g := eventually(b, a, func(g admin.Group) bool { return g.State == admin.GroupHung })
	assert.Equal(t, 1, g.Hung)
	consumers, err := a.Consumers(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	require.Equal(t, admin.ConsumerHung, consumers[0].State)
	require.NotEmpty(t, consumers[0].Held)
	assert.Greater(t, consumers[0].Held[0].For, 500*time.Millisecond)
	for entry, err := range a.Pending(t.Context(), b.Topic, "g", admin.PendingFilter{}) {
		require.NoError(t, err)
		assert.Greater(t, entry.HeldFor, 500*time.Millisecond)
		assert.Equal(t, consumers[0].Held[0].ID, entry.ID)
	}
	require.True(t, hangs.Ack())
	eventually(b, a, func(g admin.Group) bool { return g.State == admin.GroupIdle })
}

// A process whose connections are gone is dead after three intervals; nobody else has its entries.
func TestConsumers_dead(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	config := reporting()
	config.Client = fixture.ConnectURL(b, "redis://"+proxy.Addr)
	_, messages := b.Subscribe(config)
	b.Publish(3)
	fixture.Receive(t, messages)
	eventually(b, a, func(g admin.Group) bool { return g.State == admin.GroupWorking && g.Members == 1 })
	proxy.Hang()
	g := eventually(b, a, func(g admin.Group) bool { return g.State == admin.GroupAbandoned })
	assert.Zero(t, g.Members)
	assert.Equal(t, 1, g.Consumers)
	consumers, err := a.Consumers(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.Equal(t, admin.ConsumerDead, consumers[0].State)
	proxy.Resume()
}

// A consumer of another library does not report. It is alive as long as it sends commands.
func TestGroups_ofAnotherLibrary(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	b.Publish(10)
	entries := b.ReadAs("other", 2)
	b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", "redisstream~RECREATED2")
	g, err := a.Group(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.Equal(t, admin.GroupWorking, g.State)
	assert.Equal(t, [2]int{1, 1}, [2]int{g.Members, g.Consumers})
	b.Do("XCLAIM", b.Topic, "g", "other", 0, entries[0].ID, "RETRYCOUNT", 9, "JUSTID")
	g, err = a.Group(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.Equal(t, admin.GroupBlocked, g.State)
	assert.Equal(t, entries[0].ID, g.BlockedBy)
	assert.Equal(t, int64(9), g.MaxDeliveries)

	// A trimmed entry stays pending, and is not the oldest in the stream.
	b.Do("XTRIM", b.Topic, "MINID", entries[1].ID)
	g, err = a.Group(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.Equal(t, int64(2), g.Pending)
	assert.Equal(t, entries[1].ID, g.OldestID)
	assert.Equal(t, admin.Lag{N: 8, Exact: admin.LagExact}, g.Lag)
}

func TestGroups_paused(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	b.Publish(1)
	b.ReadAs("c", 1)
	b.Do("SET", redisstream.PauseKey(b.Topic, "g"), `{"since":"2026-11-27T12:00:00Z","by":"ann","reason":"a check"}`)
	g, err := a.Group(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.Equal(t, admin.GroupPaused, g.State)
	assert.Equal(t, &admin.Pause{Since: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC), By: "ann", Reason: "a check"}, g.Paused)
	assert.Contains(t, g.Describe(), "paused by ann")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	for _, key := range []string{b.Topic, "string-" + b.Topic} {
		_, err := a.Topic(t.Context(), key)
		require.ErrorIs(t, err, admin.ErrNoTopic)
		_, err = a.Groups(t.Context(), key)
		require.ErrorIs(t, err, admin.ErrNoTopic)
		_, err = a.Consumers(t.Context(), key, "g")
		require.ErrorIs(t, err, admin.ErrNoTopic)
		b.Do("SET", "string-"+b.Topic, "")
	}
	b.Publish(1)
	_, err := a.Group(t.Context(), b.Topic, "g")
	require.ErrorIs(t, err, admin.ErrNoGroup)
	_, err = a.Consumers(t.Context(), b.Topic, "g")
	require.ErrorIs(t, err, admin.ErrNoGroup)
	for _, err := range a.Pending(t.Context(), b.Topic, "g", admin.PendingFilter{}) {
		require.ErrorIs(t, err, admin.ErrNoGroup)
	}
	_, err = a.Message(t.Context(), b.Topic, "5-5")
	require.ErrorIs(t, err, admin.ErrNoEntry)
	_, err = a.Message(t.Context(), b.Topic, "coffee")
	require.ErrorIs(t, err, admin.ErrInvalidID)
	_, err = admin.New(admin.Config{})
	require.ErrorIs(t, err, admin.ErrInvalidConfig)
	_, err = admin.New(admin.Config{Client: b.Client, HungAfter: -1})
	require.ErrorIs(t, err, admin.ErrInvalidConfig)
}

// hostile is an Unmarshaler that fails in each way.
type hostile struct{}

func (hostile) Unmarshal(_ string, fields map[string]any) (*message.Message, error) {
	switch fields["data"] {
	case "panic":
		panic("coffee is out")
	case "error":
		return nil, errors.New("it is tea")
	case "nothing":
		return nil, nil //nolint:nilnil // that is what is wrong
	}
	return message.NewMessage("uuid", nil), nil
}

func TestMessages_hostile(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a, err := admin.New(admin.Config{Client: b.Client, Unmarshaler: hostile{}})
	require.NoError(t, err)
	all := []string{"panic", "error", "nothing", "good"}
	for i, data := range all {
		fixture.AddPlain(t, b.Client, b.Topic, strconv.Itoa(i+1)+"-0", data)
	}
	var got []string
	for msg, err := range a.Messages(t.Context(), b.Topic, admin.Range{Reverse: true}) {
		require.NoError(t, err)
		assert.Equal(t, msg.Fields["data"] != "good", msg.Err != nil, "%v", msg.Err)
		assert.Equal(t, msg.Err != nil, msg.UUID == "")
		got = append(got, msg.Fields["data"].(string))
	}
	assert.Equal(t, []string{"good", "nothing", "error", "panic"}, got)
	one, err := a.Message(t.Context(), b.Topic, "1-0")
	require.NoError(t, err)
	require.ErrorContains(t, one.Err, "coffee is out")
	var found []string
	for f, err := range a.Find(t.Context(), b.Topic, "uuid", admin.Range{From: "(1-0", To: "4-0"}) {
		require.NoError(t, err)
		found = append(found, f.ID)
	}
	assert.Equal(t, []string{"4-0"}, found)
}

// Follow goes on after the server was away.
func TestFollow(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always"))
	a := newAdmin(b)
	b.Publish(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan admin.Message)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for msg, err := range a.Follow(ctx, b.Topic, "0") {
			assert.NoError(t, err)
			got <- msg
		}
	}()
	assert.Equal(t, "0", string(redistest.Within(t, "the first", got).Payload))
	b.Publish(1)
	redistest.Within(t, "the second", got)
	b.Server.Kill()
	b.Server.Restart(t)
	b.Publish(1)
	redistest.Within(t, "the third", got)
	cancel()
	redistest.Within(t, "the end", ended)
}
