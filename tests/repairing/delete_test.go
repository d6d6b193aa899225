package repairing

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// staleRecord is the record of a consumer that reported each second, and last in 1970.
const staleRecord = `1000 {"every":1000000000}`

// newWithDead returns a Bench whose only message is pending for a consumer that is dead by its record.
func newWithDead(t *testing.T, consumer string) *fixture.Bench {
	t.Helper()
	b := fixture.New(t)
	b.Publish(1)
	b.ReadAs(consumer, 1)
	b.Do("HSET", redisstream.MembersKey(b.Topic, "g"), consumer, staleRecord)
	return b
}

// A group with live members is not deleted: they would create it again.
func TestDeleteGroup(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := adminOf(b, b.Client)
	_, err := a.DeleteGroup(t.Context(), b.Topic, "g", false)
	require.ErrorIs(t, err, admin.ErrNoTopic)
	b.Publish(5)
	_, err = a.DeleteGroup(t.Context(), b.Topic, "g", false)
	require.ErrorIs(t, err, admin.ErrNoGroup)
	config := fixture.FastClaimConfig()
	config.CloseTimeout = 10 * time.Millisecond
	subscriber, messages := b.Subscribe(config)
	msg := fixture.Receive(b, messages)
	redisstream.RetryAfter(msg, time.Hour)
	msg.Nack()
	fixture.Receive(b, messages)
	_, err = a.DeleteGroup(t.Context(), b.Topic, "g", false)
	require.ErrorIs(t, err, admin.ErrInUse)
	_, err = a.DeleteGroup(t.Context(), b.Topic, "g", true)
	require.ErrorIs(t, err, admin.ErrInUse, "a dry run tells, too")
	require.NoError(t, subscriber.Close())

	for _, consumer := range b.Consumers() { // what Close released is pending for its name
		b.Do("HSET", redisstream.MembersKey(b.Topic, "g"), consumer, staleRecord)
	}
	deletion, err := a.DeleteGroup(t.Context(), b.Topic, "g", true)
	require.NoError(t, err)
	assert.True(t, deletion.DryRun)
	assert.EqualValues(t, 1, deletion.Parked)
	assert.EqualValues(t, 4, deletion.Pending+deletion.Lag.N)
	deletion, err = a.DeleteGroup(t.Context(), b.Topic, "g", false)
	require.NoError(t, err)
	assert.False(t, deletion.DryRun)
	groups, err := a.Groups(t.Context(), b.Topic)
	require.NoError(t, err)
	assert.Empty(t, groups)
	for _, key := range []string{redisstream.RetryQueueKey(b.Topic, "g"), redisstream.MembersKey(b.Topic, "g"), redisstream.PauseKey(b.Topic, "g")} {
		assert.Zero(t, b.Client.Exists(t.Context(), key).Val(), key)
	}
	assert.EqualValues(t, 5, b.Len(), "the entries stay")
}

// What a dead consumer had goes to others, with its delivery counts, also thousands of entries.
func TestDropConsumer(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := adminOf(b, b.Client)
	b.Publish(2500)
	dead := b.ReadAs("dead", 2500)
	_, err := a.DropConsumer(t.Context(), b.Topic, "g", "nobody", false)
	require.ErrorIs(t, err, admin.ErrNoConsumer)
	_, err = a.DropConsumer(t.Context(), b.Topic, "g", "dead", false)
	require.ErrorIs(t, err, admin.ErrInUse, "it was active a moment ago")
	require.ErrorContains(t, err, `"dead"`)

	// A record that is old tells that the consumer is dead, however active another library's reads look.
	b.Do("HSET", redisstream.MembersKey(b.Topic, "g"), "dead", staleRecord)
	deletion, err := a.DropConsumer(t.Context(), b.Topic, "g", "dead", true)
	require.NoError(t, err)
	assert.EqualValues(t, 2500, deletion.Pending)
	assert.Equal(t, []string{"dead"}, b.Consumers(), "a dry run")
	deletion, err = a.DropConsumer(t.Context(), b.Topic, "g", "dead", false)
	require.NoError(t, err)
	assert.EqualValues(t, 2500, deletion.Pending)
	assert.NotContains(t, b.Consumers(), "dead")
	assert.EqualValues(t, 2500, b.Pending(), "nothing is lost")
	assert.Zero(t, b.Client.HLen(t.Context(), redisstream.MembersKey(b.Topic, "g")).Val())

	config := fixture.GroupConfig()
	config.MaxInFlight = 16
	_, messages := b.Subscribe(config)
	msg := fixture.Receive(b, messages)
	assert.EqualValues(t, 2, fixture.EntryOf(b, msg).Deliveries)
	assert.Contains(t, []string{dead[0].ID, dead[1].ID, dead[2].ID, dead[3].ID}, fixture.EntryOf(b, msg).ID, "the oldest first")
	require.True(t, msg.Ack())
	fixture.ReceiveAll(b, messages, 2499)
	b.Eventually("all is handled", func() bool { return b.Pending() == 0 })
}

// A consumer that comes back between the look and the removal is left alone.
func TestDropConsumer_comesBack(t *testing.T) {
	t.Parallel()
	b := newWithDead(t, "live")
	client := b.Server.Client(t)
	client.AddHook(beforeDrop{func() {
		b.Do("HSET", redisstream.MembersKey(b.Topic, "g"), "live", `2000 {"every":1000000000}`)
	}})
	_, err := adminOf(b, client).DropConsumer(t.Context(), b.Topic, "g", "live", false)
	require.ErrorIs(t, err, admin.ErrInUse)
	assert.Equal(t, []string{"live"}, b.Consumers())
}
