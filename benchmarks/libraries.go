package main

import (
	"context"
	"fmt"
	"time"

	wmredis "github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// library is a Watermill Pub/Sub under comparison.
type library struct {
	connect    func(addr string, poolSize int) (redis.UniversalClient, error)
	publisher  func(client redis.UniversalClient) (message.Publisher, error)
	subscriber func(client redis.UniversalClient, s settings) (message.Subscriber, error)
}

// settings has what some works change. Zero values keep the library's defaults. The library names
// its consumers.
type settings struct {
	poolSize    int
	inFlight    int // the peer supports only 1
	nackBackoff time.Duration
	claimIdle   time.Duration // idle time after which entries are claimed; checked five times as often
}

var ourLibrary = library{
	connect: func(addr string, poolSize int) (redis.UniversalClient, error) {
		return redisstream.Connect(context.Background(), fmt.Sprintf("redis://%s?pool_size=%d", addr, poolSize))
	},
	publisher: func(client redis.UniversalClient) (message.Publisher, error) {
		return redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	},
	subscriber: func(client redis.UniversalClient, s settings) (message.Subscriber, error) {
		config := redisstream.SubscriberConfig{
			Client: client, ConsumerGroup: group,
			MaxInFlight: s.inFlight, ClaimMinIdle: s.claimIdle, ClaimInterval: s.claimIdle / 5,
		}
		if s.nackBackoff > 0 {
			config.NackBackoff = func(int) time.Duration { return s.nackBackoff }
		}
		return redisstream.NewSubscriber(config, nil)
	},
}

// peerLibrary closes the clients that it gets.
var peerLibrary = library{
	connect: func(addr string, poolSize int) (redis.UniversalClient, error) {
		return redis.NewClient(&redis.Options{Addr: addr, PoolSize: poolSize}), nil
	},
	publisher: func(client redis.UniversalClient) (message.Publisher, error) {
		return wmredis.NewPublisher(wmredis.PublisherConfig{Client: client}, nil)
	},
	subscriber: func(client redis.UniversalClient, s settings) (message.Subscriber, error) {
		return wmredis.NewSubscriber(wmredis.SubscriberConfig{
			Client: client, ConsumerGroup: group, NackResendSleep: s.nackBackoff,
			MaxIdleTime: s.claimIdle, ClaimInterval: s.claimIdle / 5,
		}, nil)
	},
}
