package redisstream

import (
	"math"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// idleClient returns a client that connects to nothing.
func idleClient(t *testing.T) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestNewPublisher_refusesAndNamesTheField(t *testing.T) {
	t.Parallel()
	client := idleClient(t)
	tests := map[string]struct {
		config PublisherConfig
		field  string
	}{
		"negative MaxAge":         {PublisherConfig{Client: client, MaxAge: -1}, "PublisherConfig.MaxAge"},
		"negative Partitions":     {PublisherConfig{Client: client, Partitions: -1}, "PublisherConfig.Partitions"},
		"many Partitions":         {PublisherConfig{Client: client, Partitions: MaxPartitions + 1}, "PublisherConfig.Partitions"},
		"key without Partitions":  {PublisherConfig{Client: client, PartitionKey: func(*message.Message) string { return "" }}, "PublisherConfig.PartitionKey"},
		"short MaxAge":            {PublisherConfig{Client: client, MaxAge: time.Millisecond - 1}, "PublisherConfig.MaxAge"},
		"both limits":             {PublisherConfig{Client: client, MaxAge: time.Hour, MaxLen: 1}, "PublisherConfig.MaxAge"},
		"no client":               {PublisherConfig{}, "PublisherConfig.Client"},
		"negative MaxLen":         {PublisherConfig{Client: client, MaxLen: -1}, "PublisherConfig.MaxLen"},
		"negative WaitReplicas":   {PublisherConfig{Client: client, WaitReplicas: -1}, "PublisherConfig.WaitReplicas"},
		"negative WaitTimeout":    {PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: -1}, "PublisherConfig.WaitTimeout"},
		"WaitTimeout below 1 ms":  {PublisherConfig{Client: client, WaitReplicas: 1, WaitTimeout: 1}, "PublisherConfig.WaitTimeout"},
		"WaitTimeout for nothing": {PublisherConfig{Client: client, WaitTimeout: time.Second}, "PublisherConfig.WaitTimeout"},
		"negative window":         {PublisherConfig{Client: client, DeduplicationWindow: -1}, "PublisherConfig.DeduplicationWindow"},
		"short window":            {PublisherConfig{Client: client, DeduplicationWindow: time.Millisecond - 1}, "PublisherConfig.DeduplicationWindow"},
		"key without a window": {
			PublisherConfig{Client: client, DeduplicationKey: func(string, *message.Message) string { return "" }}, "PublisherConfig.DeduplicationKey",
		},
		"WAIT on an unknown type": {PublisherConfig{Client: wrapped{client}, WaitReplicas: 1}, "PublisherConfig.Client"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			publisher, err := NewPublisher(test.config, nil)
			assert.Nil(t, publisher)
			require.ErrorIs(t, err, ErrInvalidConfig)
			assert.ErrorContains(t, err, test.field)
		})
	}
}

// wrapped hides the type of its client.
type wrapped struct{ redis.UniversalClient }

func TestNewSubscriber_refusesAndNamesTheField(t *testing.T) {
	t.Parallel()
	client := idleClient(t)
	key := func(*message.Message) string { return "" }
	tests := map[string]struct {
		config SubscriberConfig
		field  string
	}{
		"no client":                 {SubscriberConfig{}, "SubscriberConfig.Client"},
		"client of an unknown type": {SubscriberConfig{Client: wrapped{client}}, "SubscriberConfig.Client"},
		"StartID of >":              {SubscriberConfig{Client: client, StartID: ">"}, "SubscriberConfig.StartID"},
		"StartID of -":              {SubscriberConfig{Client: client, StartID: "-"}, "SubscriberConfig.StartID"},
		"StartID of words":          {SubscriberConfig{Client: client, StartID: "now"}, "SubscriberConfig.StartID"},
		"StartID without sequence":  {SubscriberConfig{Client: client, StartID: "5-"}, "SubscriberConfig.StartID"},
		"StartID exclusive":         {SubscriberConfig{Client: client, StartID: "(5-0"}, "SubscriberConfig.StartID"},
		"StartID with a newline":    {SubscriberConfig{Client: client, StartID: "5-0\n"}, "SubscriberConfig.StartID"},
		"negative MaxInFlight":      {SubscriberConfig{Client: client, MaxInFlight: -1}, "SubscriberConfig.MaxInFlight"},
		"OrderingKey by default":    {SubscriberConfig{Client: client, OrderingKey: key}, "SubscriberConfig.OrderingKey"},
		"OrderingKey with one":      {SubscriberConfig{Client: client, OrderingKey: key, MaxInFlight: 1}, "SubscriberConfig.OrderingKey"},
		"short ClaimMinIdle":        {SubscriberConfig{Client: client, ClaimMinIdle: 99 * time.Millisecond}, "SubscriberConfig.ClaimMinIdle"},
		"negative ClaimMinIdle":     {SubscriberConfig{Client: client, ClaimMinIdle: -time.Hour}, "SubscriberConfig.ClaimMinIdle"},
		"one read connection":       {SubscriberConfig{Client: client, ReadConnections: 1}, "SubscriberConfig.ReadConnections"},
		"negative ReadConnections":  {SubscriberConfig{Client: client, ReadConnections: -1}, "SubscriberConfig.ReadConnections"},
		"short BlockTime":           {SubscriberConfig{Client: client, BlockTime: time.Millisecond - 1}, "SubscriberConfig.BlockTime"},
		"negative BlockTime":        {SubscriberConfig{Client: client, BlockTime: -1}, "SubscriberConfig.BlockTime"},
		"short ConsumerTimeout":     {SubscriberConfig{Client: client, ConsumerTimeout: time.Second}, "SubscriberConfig.ConsumerTimeout"},
		"negative TrimInterval":     {SubscriberConfig{Client: client, TrimInterval: -1}, "SubscriberConfig.TrimInterval"},
		"TrimInterval, no group":    {SubscriberConfig{Client: client, TrimInterval: time.Hour}, "SubscriberConfig.TrimInterval"},
		"negative TrimMinAge":       {SubscriberConfig{Client: client, TrimMinAge: -1}, "SubscriberConfig.TrimMinAge"},
		"negative TrimMinLen":       {SubscriberConfig{Client: client, TrimMinLen: -1}, "SubscriberConfig.TrimMinLen"},
		"TrimMinLen of no trim":     {SubscriberConfig{Client: client, ConsumerGroup: "us", TrimMinLen: 1}, "SubscriberConfig.TrimMinAge, TrimMinLen"},
		"Consumer without a group":  {SubscriberConfig{Client: client, Consumer: "me"}, "SubscriberConfig.Consumer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			subscriber, err := NewSubscriber(test.config, nil)
			assert.Nil(t, subscriber)
			require.ErrorIs(t, err, ErrInvalidConfig)
			assert.ErrorContains(t, err, test.field+":")
		})
	}
}

func TestNewSubscriber_saysWhichClientsItTakes(t *testing.T) {
	t.Parallel()
	_, err := NewSubscriber(SubscriberConfig{Client: wrapped{idleClient(t)}}, nil)
	for _, part := range []string{"redisstream.wrapped", "*redis.Client", "*redis.ClusterClient", "*redis.Ring", "embeds"} {
		assert.ErrorContains(t, err, part)
	}
}

func TestNewSubscriber_takes(t *testing.T) {
	t.Parallel()
	client := idleClient(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}, HeartbeatFrequency: time.Hour})
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	key := func(*message.Message) string { return "" }
	for name, config := range map[string]SubscriberConfig{
		"a client":                  {Client: client},
		"a cluster's client":        {Client: cluster},
		"a ring":                    {Client: ring},
		"a type with a client":      {Client: struct{ *redis.Client }{client}},
		"a type with a cluster":     {Client: struct{ *redis.ClusterClient }{cluster}},
		"a type with a ring":        {Client: struct{ *redis.Ring }{ring}},
		"StartID of $":              {Client: client, StartID: "$"},
		"StartID of 0":              {Client: client, StartID: "0"},
		"StartID of a time":         {Client: client, StartID: "1700000000000"},
		"StartID of an entry":       {Client: client, StartID: "1700000000000-0"},
		"OrderingKey with two":      {Client: client, OrderingKey: key, MaxInFlight: 2},
		"the shortest times":        {Client: client, ClaimMinIdle: 100 * time.Millisecond, BlockTime: time.Millisecond},
		"claims and waits disabled": {Client: client, ClaimInterval: -1, CloseTimeout: -1, ConsumerTimeout: -1},
		"two read connections":      {Client: client, ReadConnections: 2},
		"a long BlockTime":          {Client: client, BlockTime: time.Hour},
		"Consumer in a group":       {Client: client, Consumer: "me", ConsumerGroup: "us"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			subscriber, err := NewSubscriber(config, nil)
			require.NoError(t, err)
			require.NoError(t, subscriber.Close())
		})
	}
}

func TestPublisherConfig_defaults(t *testing.T) {
	t.Parallel()
	client := idleClient(t)
	config := PublisherConfig{Client: client}
	publisher, err := NewPublisher(config, nil)
	require.NoError(t, err)
	assert.Equal(t, PublisherConfig{Client: client, Marshaler: MsgpackMarshaler{}}, publisher.config)
	assert.Equal(t, PublisherConfig{Client: client}, config, "the caller's value is not changed")

	config = PublisherConfig{Client: client, Marshaler: JSONMarshaler{}, MaxLen: 5}
	publisher, err = NewPublisher(config, nil)
	require.NoError(t, err)
	assert.Equal(t, config, publisher.config, "set fields are kept")
}

func TestSubscriberConfig_defaults(t *testing.T) {
	t.Parallel()
	client := idleClient(t)
	full := SubscriberConfig{
		Client: client, Unmarshaler: MsgpackMarshaler{}, StartID: "$", MaxInFlight: 1,
		ClaimMinIdle: DefaultClaimMinIdle, ClaimInterval: DefaultClaimInterval,
		BlockTime: DefaultBlockTime, CloseTimeout: DefaultCloseTimeout, ConsumerTimeout: DefaultConsumerTimeout,
	}
	inGroup := full
	inGroup.ConsumerGroup, inGroup.StartID = "group", "0"
	own := SubscriberConfig{
		Client: client, Unmarshaler: JSONMarshaler{}, ConsumerGroup: "group", Consumer: "me", StartID: "5-0", AutoAck: true,
		MaxInFlight: 2, ClaimMinIdle: time.Second, ClaimInterval: -1, BlockTime: time.Second, CloseTimeout: -1,
		ConsumerTimeout: -1, TrimInterval: time.Second, TrimMinAge: time.Hour, TrimMinLen: 5,
	}
	for name, test := range map[string]struct{ given, want SubscriberConfig }{
		"fan-out":             {SubscriberConfig{Client: client}, full},
		"group":               {SubscriberConfig{Client: client, ConsumerGroup: "group"}, inGroup},
		"set fields are kept": {own, own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given := test.given
			subscriber, err := NewSubscriber(given, nil)
			require.NoError(t, err)
			got := subscriber.config
			assert.NotNil(t, got.backoff("topic"))
			got.NackBackoff = nil
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.given, given, "the caller's value is not changed")
		})
	}
}

func TestSubscriberConfig_functionsOfTheCallerStay(t *testing.T) {
	t.Parallel()
	subscriber, err := NewSubscriber(SubscriberConfig{
		Client: idleClient(t), MaxInFlight: 2,
		NackBackoff: func(attempt int) time.Duration { return time.Duration(attempt) },
		OrderingKey: func(*message.Message) string { return "mine" },
		ShouldClaim: func(PendingEntry) bool { return true },
	}, nil)
	require.NoError(t, err)
	assert.Equal(t, time.Duration(3), subscriber.config.NackBackoff(3))
	assert.Equal(t, "mine", subscriber.config.OrderingKey(nil))
	assert.True(t, subscriber.config.ShouldClaim(PendingEntry{}))
}

func TestDefaultNackBackoff_staysInItsBounds(t *testing.T) {
	t.Parallel()
	for _, attempt := range []int{math.MinInt, -100, -1, 0, 63, 64, 65, 1000, math.MaxInt} {
		for range 100 {
			pause := DefaultNackBackoff(attempt)
			assert.Positive(t, pause, "attempt %d", attempt)
			assert.LessOrEqual(t, pause, longestNackPause, "attempt %d", attempt)
		}
	}
	assert.LessOrEqual(t, longestNackPause, 10*time.Second)
	longest := firstNackPause
	for attempt := 1; attempt <= 100; attempt++ {
		for range 100 {
			pause := DefaultNackBackoff(attempt)
			assert.GreaterOrEqual(t, pause, longest/2, "attempt %d", attempt)
			assert.LessOrEqual(t, pause, longest, "attempt %d", attempt)
		}
		longest = min(2*longest, longestNackPause)
	}
}

func TestDefaultNackBackoff_varies(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 100 {
		seen[DefaultNackBackoff(5)] = true
	}
	assert.Greater(t, len(seen), 50)
}
