package main

import (
	"context"
	"fmt"
	"time"

	wmredis "github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/redisstreamprom"
	"github.com/redis/go-redis/v9"
)

// library is a Watermill Pub/Sub under comparison. What it opens has connections of its own, which
// are closed when the run ends.
type library interface {
	openPublisher(r *run) (message.Publisher, error)
	openSubscriber(r *run, s settings) (message.Subscriber, error)
}

// settings has what some works change. Zero values keep the library's defaults. The library names
// its consumers.
type settings struct {
	poolSize    int
	inFlight    int // the peer supports only 1
	nackBackoff time.Duration
	claimIdle   time.Duration        // idle time after which entries are claimed; checked five times as often
	observer    redisstream.Observer // of ours
}

// redisLibrary is a library on Redis.
type redisLibrary struct {
	connect    func(addr string, poolSize int) (redis.UniversalClient, error)
	publisher  func(client redis.UniversalClient) (message.Publisher, error)
	subscriber func(client redis.UniversalClient, s settings) (message.Subscriber, error)
}

var ourLibrary = redisLibrary{
	connect: func(addr string, poolSize int) (redis.UniversalClient, error) {
		return redisstream.Connect(context.Background(), fmt.Sprintf("redis://%s?pool_size=%d", addr, poolSize))
	},
	publisher: func(client redis.UniversalClient) (message.Publisher, error) {
		return redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, nil)
	},
	subscriber: func(client redis.UniversalClient, s settings) (message.Subscriber, error) {
		config := redisstream.SubscriberConfig{
			Client: client, ConsumerGroup: group,
			MaxInFlight: s.inFlight, ClaimMinIdle: s.claimIdle, ClaimInterval: s.claimIdle / 5, Observer: s.observer,
		}
		if s.nackBackoff > 0 {
			config.NackBackoff = func(int) time.Duration { return s.nackBackoff }
		}
		return redisstream.NewSubscriber(config, nil)
	},
}

// observed returns our library with the Observer for Prometheus.
func observed(lib redisLibrary) redisLibrary {
	observer, open := redisstreamprom.New(redisstreamprom.Config{}), lib.subscriber
	lib.subscriber = func(client redis.UniversalClient, s settings) (message.Subscriber, error) {
		s.observer = observer
		return open(client, s)
	}
	return lib
}

// peerLibrary closes the clients that it gets.
var peerLibrary = redisLibrary{
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

func (l redisLibrary) openPublisher(r *run) (message.Publisher, error) {
	client, err := l.client(r, 0)
	if err != nil {
		return nil, err
	}
	return l.publisher(client)
}

func (l redisLibrary) openSubscriber(r *run, s settings) (message.Subscriber, error) {
	client, err := l.client(r, s.poolSize)
	if err != nil {
		return nil, err
	}
	return l.subscriber(client, s)
}

// client opens a client as the library's README does; poolSize 0: go-redis's default.
func (l redisLibrary) client(r *run, poolSize int) (redis.UniversalClient, error) {
	client, err := l.connect(r.addr, poolSize)
	if err != nil {
		return nil, err
	}
	r.atEnd(func() { _ = client.Close() }) // the peer has closed its own
	return client, client.Ping(context.Background()).Err()
}
