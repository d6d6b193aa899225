package repairing

import (
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A pause has who, why and since when, and stays as it is until Resume.
func TestPause_record(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := adminOf(b, b.Client)
	require.ErrorIs(t, a.Pause(t.Context(), b.Topic, "g", "ann", "no milk"), admin.ErrNoTopic)
	b.Publish(1)
	require.ErrorIs(t, a.Pause(t.Context(), b.Topic, "g", "ann", "no milk"), admin.ErrNoGroup)
	assert.Zero(t, b.Client.Exists(t.Context(), redisstream.PauseKey(b.Topic, "g")).Val())
	b.ReadAs("c", 1)
	require.NoError(t, a.Pause(t.Context(), b.Topic, "g", "ann", "no milk"))
	require.NoError(t, a.Pause(t.Context(), b.Topic, "g", "bob", "no coffee"))
	group, err := a.Group(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	require.NotNil(t, group.Paused)
	assert.Equal(t, "ann", group.Paused.By)
	assert.Equal(t, "no milk", group.Paused.Reason)
	assert.False(t, group.Paused.Since.IsZero())
	assert.Equal(t, admin.GroupPaused, group.State)
	require.NoError(t, a.Resume(t.Context(), b.Topic, "g"))
	require.NoError(t, a.Resume(t.Context(), b.Topic, "g"))
	group, err = a.Group(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.Nil(t, group.Paused)
}
