package security

import (
	"iter"
	"testing"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drain reads an iteration to its end.
func drain[T any](t *testing.T, all iter.Seq2[T, error]) (n int) {
	t.Helper()
	for _, err := range all {
		require.NoError(t, err)
		n++
	}
	return n
}

// The inspector reads everything of its topic, sees no other one, and can't change anything.
func TestACL_inspector(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	b := server.NewBench(t)
	b.Publish(3)
	b.ReadAs("c", 2)
	id := b.AddDeadLetter(b.Topic, "first")
	b.Do("XADD", "another", "*", "a", "b")
	client := server.ConnectAs(b, "inspector")
	a, err := admin.New(admin.Config{Client: client})
	require.NoError(t, err)
	assert.Equal(t, 1, drain(t, a.Topics(t.Context(), "")))
	topic, err := a.Topic(t.Context(), b.Topic)
	require.NoError(t, err)
	assert.Positive(t, topic.Bytes)
	groups, err := a.Groups(t.Context(), b.Topic)
	require.NoError(t, err)
	assert.Equal(t, admin.Lag{N: 1, Exact: admin.LagExact}, groups[0].Lag)
	consumers, err := a.Consumers(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.Len(t, consumers, 1)
	assert.Equal(t, 2, drain(t, a.Pending(t.Context(), b.Topic, "g", admin.PendingFilter{})))
	assert.Equal(t, 3, drain(t, a.Messages(t.Context(), b.Topic, admin.Range{})))
	assert.Equal(t, 1, drain(t, a.DeadLetters(t.Context(), b.Topic)))
	assert.Zero(t, drain(t, a.Delayed(t.Context(), b.Topic)))
	assert.Zero(t, drain(t, a.Parked(t.Context(), b.Topic, "g")))
	assert.Zero(t, drain(t, a.Find(t.Context(), b.Topic, "coffee", admin.Range{})))
	for _, denied := range server.Denied(b, "inspector") {
		assert.Contains(t, denied, "another") // the topic that it may not read
	}

	outcome, err := a.DropDeadLetters(t.Context(), b.Topic, func(admin.DeadLetter) bool { return true }, true)
	require.NoError(t, err)
	assert.Equal(t, []string{id}, outcome.IDs)
	_, err = a.DropDeadLetters(t.Context(), b.Topic, func(admin.DeadLetter) bool { return true }, false)
	require.ErrorContains(t, err, "xdel")
	require.ErrorContains(t, client.Do(t.Context(), "XADD", b.Topic, "*", "a", "b").Err(), "NOPERM")
	assert.Len(t, b.DeadLetters(), 1)
}
