package partitions

import (
	"context"
	"net"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const keyField = "key"

// keyOf is the PartitionKey of the tests: the metadata "key".
func keyOf(msg *message.Message) string { return msg.Metadata.Get(keyField) }

// keyed returns Numbered messages with a key.
func keyed(key, prefix string, n int) []*message.Message {
	messages := fixture.Numbered(prefix, n)
	for _, msg := range messages {
		msg.Metadata.Set(keyField, key)
	}
	return messages
}

// keyIn returns a key of a partition.
func keyIn(partition, partitions int) string {
	for key := []byte("k"); ; key[len(key)-1]++ {
		if key[len(key)-1] == 'z' {
			key = append(key, 'a')
		}
		if redisstream.PartitionOf(string(key), partitions) == partition {
			return string(key)
		}
	}
}

// stored returns the UUIDs of the messages in each partition.
func stored(t *testing.T, client redis.Cmdable, topic string, partitions int) [][]string {
	t.Helper()
	list := make([][]string, partitions)
	for i, stream := range redisstream.PartitionTopics(topic, partitions) {
		list[i] = fixture.StoredUUIDs(t, client, stream)
	}
	return list
}

// lengths returns the number of messages in each partition.
func lengths(t *testing.T, client redis.Cmdable, topic string, partitions int) []int {
	t.Helper()
	list := make([]int, partitions)
	for i, stream := range redisstream.PartitionTopics(topic, partitions) {
		n, err := client.XLen(context.Background(), stream).Result()
		require.NoError(t, err)
		list[i] = int(n)
	}
	return list
}

// detour makes a client of a cluster reach one server through a proxy.
func detour(server *redistest.Server, proxy *redistest.Proxy) func(*redis.ClusterOptions) {
	return func(o *redis.ClusterOptions) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == server.Addr {
				addr = proxy.Addr
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
}

// open returns a Publisher of a topic with partitions and keys.
func open(t *testing.T, client redis.UniversalClient, partitions int, change ...func(*redisstream.PublisherConfig)) *redisstream.Publisher {
	t.Helper()
	config := redisstream.PublisherConfig{Client: client, Partitions: partitions, PartitionKey: keyOf}
	for _, f := range change {
		f(&config)
	}
	return fixture.OpenPublisher(t, config)
}
