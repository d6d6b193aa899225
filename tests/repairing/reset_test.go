package repairing

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// addAt adds an entry that was added at that time, and returns its ID.
func addAt(b *fixture.Bench, at time.Time, payload string) (id string) {
	b.Helper()
	id, err := b.Client.XAdd(b.Context(), &redis.XAddArgs{
		Stream: b.Topic, ID: fmt.Sprintf("%d-0", at.UnixMilli()), Values: []string{"payload", payload, fixture.UUIDField, payload, "metadata", ""},
	}).Result()
	require.NoError(b, err)
	return id
}

// Two hours back: what was added since then is handled again, by subscribers that run.
func TestReset_back(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	now, err := b.Client.Time(t.Context()).Result()
	require.NoError(t, err)
	var ids []string
	for i, ago := range []time.Duration{4 * time.Hour, 3 * time.Hour, time.Hour, 0} {
		ids = append(ids, addAt(b, now.Add(-ago), fmt.Sprint(i)))
	}
	config := fixture.GroupConfig()
	config.StartID = "0"
	_, messages := b.Subscribe(config)
	assert.Equal(t, []string{"0", "1", "2", "3"}, fixture.ReceiveAll(b, messages, 4))
	a := adminOf(b, b.Client)
	b.Eventually("all is acknowledged", func() bool { return b.Pending() == 0 })

	reset, err := a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{Ago: 2 * time.Hour, DryRun: true})
	require.NoError(t, err)
	assert.Equal(t, ids[3], reset.From)
	assert.Equal(t, admin.Lag{N: 0, Exact: admin.LagExact}, reset.Before)
	assert.Equal(t, admin.Lag{N: 2, Exact: admin.LagExact}, reset.After)
	assert.Zero(t, reset.Acknowledged)
	assert.True(t, reset.DryRun)
	fixture.NothingComes(b, messages, 50*time.Millisecond)

	handledAgain := func(to admin.ResetTo, payloads ...string) admin.Reset {
		t.Helper()
		reset, err := a.Reset(t.Context(), b.Topic, "g", to)
		require.NoError(t, err)
		assert.Equal(t, payloads, fixture.ReceiveAll(b, messages, len(payloads)))
		b.Eventually("all is acknowledged", func() bool { return b.Pending() == 0 }) // an ack that comes after a reset counts
		return reset
	}
	done := handledAgain(admin.ResetTo{Ago: 2 * time.Hour}, "2", "3")
	assert.Equal(t, reset.After, done.After)
	handledAgain(admin.ResetTo{Time: now.Add(-3 * time.Hour)}, "1", "2", "3") // what was added at that very time, too
	handledAgain(admin.ResetTo{ID: ids[2]}, "3")                              // what is newer than this entry
	handledAgain(admin.ResetTo{ID: "0"}, "0", "1", "2", "3")
}

// Forward: what is passed over is acknowledged, also thousands of entries.
func TestReset_forward(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(3000)
	b.ReadAs("dead", 2500)
	ids := idsOf(b)
	a := adminOf(b, b.Client)
	reset, err := a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{ID: ids[2199], DryRun: true})
	require.NoError(t, err)
	assert.EqualValues(t, 2200, reset.Acknowledged)
	assert.EqualValues(t, 2500, b.Pending(), "a dry run")
	reset, err = a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{ID: ids[2199]})
	require.NoError(t, err)
	assert.EqualValues(t, 2200, reset.Acknowledged)
	assert.Equal(t, admin.Lag{N: 800, Exact: admin.LagExact}, reset.After)
	assert.EqualValues(t, 300, b.Pending(), "they are redelivered with the later entries")
	reset, err = a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{ID: "$"})
	require.NoError(t, err)
	assert.Equal(t, ids[2999], reset.To)
	assert.Equal(t, admin.Lag{N: 0, Exact: admin.LagExact}, reset.After)
	assert.Zero(t, b.Pending())
	groups, err := b.Client.XInfoGroups(t.Context(), b.Topic).Result()
	require.NoError(t, err)
	assert.Zero(t, groups[0].Lag, "the server knows it, too")
}

func TestReset_errors(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := adminOf(b, b.Client)
	_, err := a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{ID: "0"})
	require.ErrorIs(t, err, admin.ErrNoTopic)
	b.Publish(1)
	_, err = a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{ID: "0"})
	require.ErrorIs(t, err, admin.ErrNoGroup)
	require.ErrorContains(t, err, `"g"`)
	b.ReadAs("c", 1)
	for name, to := range map[string]admin.ResetTo{"nothing": {}, "two": {ID: "0", Ago: time.Second}} {
		_, err = a.Reset(t.Context(), b.Topic, "g", to)
		require.ErrorContains(t, err, "set one of ID, Time and Ago", name)
	}
	for _, id := range []string{"first", "1-2-3", "-"} {
		_, err = a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{ID: id})
		require.ErrorIs(t, err, admin.ErrInvalidID, id)
	}
	_, err = a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{ID: "99999999999999-0"})
	require.ErrorIs(t, err, admin.ErrInvalidID, "it would skip what is added later")
	reset, err := a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{Time: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	assert.Equal(t, idsOf(b)[0], reset.To, "the end")
	reset, err = a.Reset(t.Context(), b.Topic, "g", admin.ResetTo{Time: time.Unix(0, 0)})
	require.NoError(t, err)
	assert.Equal(t, "0-0", reset.To)
}
