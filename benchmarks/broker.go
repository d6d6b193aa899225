package main

import (
	"context"
	"fmt"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// broker is a private server with the topic. Nothing that its methods do is measured.
type broker interface {
	// address is the host and port that contestants connect to.
	address() string
	// version is the server's name and version.
	version() (string, error)
	// empty removes all messages and groups.
	empty() error
	// fill publishes n messages.
	fill(n int, payload []byte) error
	// acked returns how many messages the group has acknowledged.
	acked() (int64, error)
	// stop ends the server and removes its data.
	stop()
}

// redisBroker is a Redis server.
type redisBroker struct {
	server *redistest.Server
	client *redis.Client
}

// launchRedis starts a server with these arguments.
func launchRedis(args ...string) (*redisBroker, error) {
	server, err := redistest.Launch(args...)
	if err != nil {
		return nil, err
	}
	return &redisBroker{server: server, client: redis.NewClient(&redis.Options{Addr: server.Addr})}, nil
}

func (b *redisBroker) address() string { return b.server.Addr }

func (b *redisBroker) version() (string, error) {
	info, err := b.client.Info(context.Background(), "server").Result()
	if version := infoField(info, "valkey_version"); version != "" {
		return "Valkey " + version, err
	}
	return "Redis " + infoField(info, "redis_version"), err
}

func (b *redisBroker) empty() error { return b.client.FlushAll(context.Background()).Err() }

func (b *redisBroker) fill(n int, payload []byte) error {
	perPipeline := min(n, max(1, 1<<20/len(payload)), 1000)
	for added := 0; added < n; {
		pipeline := b.client.Pipeline()
		for ; pipeline.Len() < perPipeline && added < n; added++ {
			pipeline.XAdd(context.Background(), &redis.XAddArgs{Stream: topic, Values: fields("uuid", payload)})
		}
		if _, err := pipeline.Exec(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

// progress is the server's state of the group.
type progress struct{ read, pending, acked int64 }

func (b *redisBroker) progress() (progress, error) {
	groups, err := b.client.XInfoGroups(context.Background(), topic).Result()
	if err != nil {
		return progress{}, err
	}
	for _, g := range groups {
		if g.Name == group {
			return progress{read: g.EntriesRead, pending: g.Pending, acked: g.EntriesRead - g.Pending}, nil
		}
	}
	return progress{}, fmt.Errorf("no group %q", group)
}

func (b *redisBroker) acked() (int64, error) {
	progress, err := b.progress()
	return progress.acked, err
}

func (b *redisBroker) stop() {
	_ = b.client.Close()
	b.server.Remove()
}
