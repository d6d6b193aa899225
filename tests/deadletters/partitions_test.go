package deadletters

import (
	"strconv"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The functions for dead letters work on all partitions of a topic, in the order of their IDs.
func TestPartitions(t *testing.T) {
	t.Parallel()
	fixture.OnServers(t, func(t *testing.T, client redis.UniversalClient) { //nolint:thelper // it is the test
		ctx := t.Context()
		require.NoError(t, client.Set(ctx, "orders", "partitions=3", 0).Err())
		names := redisstream.PartitionTopics("orders", 3)
		add := func(partition int, id string) {
			require.NoError(t, client.XAdd(ctx, &redis.XAddArgs{Stream: redisstream.DeadLetterTopic(names[partition]), ID: id, Values: []any{
				redisstream.DeadLetterStreamKey, names[partition], redisstream.DeadLetterGroupKey, "g", redisstream.DeadLetterIDKey, "1-" + id[:1], "data", id,
			}}).Err())
		}
		for n := range 9 {
			add(2-n%3, strconv.Itoa(n+1)+"-0")
		}
		add(0, "9-5")
		add(1, "9-5")
		var ids []string
		for letter, err := range redisstream.DeadLetters(ctx, client, "orders") {
			require.NoError(t, err)
			ids = append(ids, letter.ID)
			assert.Contains(t, names, letter.Stream)
		}
		assert.Equal(t, []string{"1-0", "2-0", "3-0", "4-0", "5-0", "6-0", "7-0", "8-0", "9-0", "9-5", "9-5"}, ids)

		moved, err := redisstream.ReplayDeadLetters(ctx, client, "orders", 4)
		require.NoError(t, err)
		assert.Equal(t, 4, moved)
		lengths := make([]int64, len(names))
		for i, name := range names {
			lengths[i] = client.XLen(ctx, name).Val()
		}
		assert.Equal(t, []int64{1, 1, 2}, lengths, "each goes to its partition")
		dropped, err := redisstream.DropDeadLettersByID(ctx, client, "orders", "5-0", "1-0", "6-0")
		require.NoError(t, err)
		assert.Equal(t, 2, dropped, "1-0 is gone")
		retried, err := redisstream.RetryDeadLettersByID(ctx, client, "orders", "7-0")
		require.NoError(t, err)
		assert.Equal(t, 1, retried)
		assert.EqualValues(t, 1, client.ZCard(ctx, redisstream.RetryQueueKey(names[2], "g")).Val())

		_, err = redisstream.DropDeadLettersByID(ctx, client, "orders", "9-5")
		require.ErrorIs(t, err, redisstream.ErrAmbiguousID)
		dropped, err = redisstream.DropDeadLettersByID(ctx, client, names[1], "9-5")
		require.NoError(t, err)
		assert.Equal(t, 1, dropped)
		dropped, err = redisstream.DropDeadLettersFunc(ctx, client, "orders", func(redisstream.DeadLetter) bool { return true })
		require.NoError(t, err)
		assert.Equal(t, 3, dropped)
	})
}
