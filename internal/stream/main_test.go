package stream_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// soon is how long a test waits, on a busy machine, for something that is due at once.
const soon = redistest.Soon

const groupName = "group"

// ownKey returns a stream that only this test uses.
func ownKey(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(t.Name(), "/", ":") + ":" + rand.Text()[:8]
}

// add adds n entries, with the field "n" from 0, and returns their IDs.
func add(t *testing.T, client redis.Cmdable, key string, n int) []string {
	t.Helper()
	pipe := client.Pipeline()
	commands := make([]*redis.StringCmd, n)
	for i := range n {
		commands[i] = pipe.XAdd(context.Background(), &redis.XAddArgs{Stream: key, Values: []any{"n", i}})
	}
	_, err := pipe.Exec(context.Background())
	require.NoError(t, err)
	ids := make([]string, n)
	for i, command := range commands {
		ids[i] = command.Val()
	}
	return ids
}

// join returns a consumer of the group, which is created when it is missing.
func join(t *testing.T, client redis.UniversalClient, key, consumer string) *stream.Group {
	t.Helper()
	group := stream.NewGroup(client, key, groupName, consumer)
	t.Cleanup(group.Close)
	require.NoError(t, group.Join(context.Background(), "0"))
	return group
}

// all is a limit that nothing of a test exceeds.
var all = stream.Limit{Count: 10_000, Bytes: 1 << 30}

// read returns what the group hands out at once.
func read(t *testing.T, group *stream.Group, count int) []stream.Entry {
	t.Helper()
	entries, err := group.Read(context.Background(), stream.Limit{Count: count}, time.Millisecond)
	require.NoError(t, err)
	return entries
}

// handedOut returns a group whose consumer "a" holds n entries, its stream and their IDs.
func handedOut(t *testing.T, client redis.UniversalClient, n int) (*stream.Group, string, []string) {
	t.Helper()
	key := ownKey(t)
	ids := add(t, client, key, n)
	group := join(t, client, key, "a")
	require.Len(t, read(t, group, n), n)
	return group, key, ids
}

// row is an entry of the pending list.
type row struct {
	consumer   string
	deliveries int64
}

// pending returns the pending list of the group by ID.
func pending(t *testing.T, client redis.Cmdable, key string) map[string]row {
	t.Helper()
	list := map[string]row{}
	for _, r := range pendingRows(t, client, key) {
		list[r.ID] = row{r.Consumer, r.Deliveries}
	}
	return list
}

func pendingRows(t *testing.T, client redis.Cmdable, key string) []stream.PendingEntry {
	t.Helper()
	list, err := client.XPendingExt(context.Background(), &redis.XPendingExtArgs{
		Stream: key, Group: groupName, Start: "-", End: "+", Count: 10_000,
	}).Result()
	require.NoError(t, err)
	rows := make([]stream.PendingEntry, len(list))
	for i, r := range list {
		rows[i] = stream.PendingEntry{ID: r.ID, Consumer: r.Consumer, Idle: r.Idle, Deliveries: r.RetryCount}
	}
	return rows
}

// pretendIdle sets the idle time of pending entries to an hour.
func pretendIdle(t *testing.T, client redis.Cmdable, key, consumer string, ids ...string) {
	t.Helper()
	args := []any{"xclaim", key, groupName, consumer, 0}
	for _, id := range ids {
		args = append(args, id)
	}
	args = append(args, "idle", time.Hour.Milliseconds(), "justid")
	require.NoError(t, client.(*redis.Client).Do(context.Background(), args...).Err())
}

// consumers returns the names of the group's consumers.
func consumers(t *testing.T, client redis.Cmdable, key string) []string {
	t.Helper()
	list, err := client.XInfoConsumers(context.Background(), key, groupName).Result()
	require.NoError(t, err)
	names := make([]string, len(list))
	for i, consumer := range list {
		names[i] = consumer.Name
	}
	return names
}

func ids(entries []stream.Entry) []string {
	list := make([]string, len(entries))
	for i, entry := range entries {
		list[i] = entry.ID
	}
	return list
}

// awaitBlocked returns when n clients are blocked on the server.
func awaitBlocked(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	want := fmt.Sprintf("blocked_clients:%d\r\n", n)
	require.Eventually(t, func() bool {
		info, err := client.Info(context.Background(), "clients").Result()
		return err == nil && strings.Contains(info, want)
	}, soon, 500*time.Microsecond)
}
