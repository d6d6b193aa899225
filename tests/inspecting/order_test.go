package inspecting

import (
	"slices"
	"strings"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func idsOf(entries []redis.XMessage) (ids []string) {
	for _, entry := range entries {
		ids = append(ids, entry.ID)
	}
	return ids
}

// Whatever takes several pages comes in its order, each once.
func TestPages(t *testing.T) {
	t.Parallel()
	b := fixture.NewOn(t, redistest.Start(t))
	a := newAdmin(b)
	const n = 1100
	b.Publish(n)
	for _, consumer := range []string{"c", "a"} { // in turn, so that no page is of one consumer
		b.ReadAs(consumer, 300)
	}
	b.ReadAs("b", n)
	for range 250 {
		b.AddDeadLetter(b.Topic, "x")
	}
	var pending, messages, newest, letters []string
	for _, entry := range all(b, a.Pending(t.Context(), b.Topic, "g", admin.PendingFilter{})) {
		pending = append(pending, entry.ID)
	}
	for _, msg := range all(b, a.Messages(t.Context(), b.Topic, admin.Range{})) {
		messages = append(messages, msg.ID)
	}
	for _, msg := range all(b, a.Messages(t.Context(), b.Topic, admin.Range{Reverse: true})) {
		newest = append(newest, msg.ID)
	}
	for _, letter := range all(b, a.DeadLetters(t.Context(), b.Topic)) {
		letters = append(letters, letter.ID)
	}
	added, err := b.Client.XRange(t.Context(), b.Topic, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, messages, n)
	assert.Equal(t, idsOf(added), messages)
	assert.Equal(t, messages, pending)
	slices.Reverse(newest)
	assert.Equal(t, messages, newest)
	require.Len(t, letters, 250)
	assert.Equal(t, idsOf(b.DeadLetters()), letters)

	of := func(consumer string) (ids []string) {
		for _, entry := range all(b, a.Pending(t.Context(), b.Topic, "g", admin.PendingFilter{Consumer: consumer, From: messages[10]})) {
			ids = append(ids, entry.ID)
		}
		return ids
	}
	assert.Equal(t, messages[10:300], of("c"))
	assert.Equal(t, messages[300:600], of("a"))
	assert.Equal(t, messages[600:], of("b"))
	consumers, err := a.Consumers(t.Context(), b.Topic, "g")
	require.NoError(t, err)
	assert.True(t, slices.IsSortedFunc(consumers, func(x, y admin.Consumer) int { return strings.Compare(x.Name, y.Name) }))
}

// A pending entry that is no longer in the stream blocks trimming, too.
func TestGroups_deletedEntryBlocksTrimming(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(3)
	entries := b.ReadAs("c", 3)
	b.Do("XGROUP", "CREATE", b.Topic, "newer", entries[1].ID)
	b.Do("XACK", b.Topic, "g", entries[1].ID, entries[2].ID)
	b.Do("XDEL", b.Topic, entries[0].ID)
	groups, err := newAdmin(b).Groups(t.Context(), b.Topic)
	require.NoError(t, err)
	require.Len(t, groups, 2)
	assert.Empty(t, groups[0].OldestID)
	assert.True(t, groups[0].BlocksTrimming)
	assert.False(t, groups[1].BlocksTrimming)
}

// All groups whose oldest entry is the oldest of all block trimming.
func TestGroups_shareTheOldest(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a := newAdmin(b)
	for _, id := range []string{"1000-0", "1000-1", "1007-0", "1009-0"} {
		b.Do("XADD", b.Topic, id, "payload", id)
	}
	entries := b.ReadAs("c", 4)
	b.Do("XACK", b.Topic, "g", entries[0].ID, entries[1].ID)
	b.Do("XGROUP", "CREATE", b.Topic, "h", entries[1].ID)
	b.Do("XGROUP", "CREATE", b.Topic, "newer", entries[2].ID)
	b.Do("XGROUP", "CREATE", b.Topic, "idle", "$")
	described := func() map[string]string {
		groups, err := a.Groups(t.Context(), b.Topic)
		require.NoError(t, err)
		states := make(map[string]string)
		for _, g := range groups {
			states[g.Name] = g.Describe()
		}
		return states
	}
	// What "g" has pending and what "h" has not read is the same entry. It does not directly follow
	// the position of "h".
	b.Do("HSET", redisstream.MembersKey(b.Topic, "g"), "c", `1000 {"every":1000000000}`) // it is dead
	assert.Equal(t, map[string]string{
		"g": "abandoned, blocks trimming", "h": "abandoned, blocks trimming", "newer": "abandoned", "idle": "idle",
	}, described())
	b.Do("XACK", b.Topic, "g", entries[2].ID)
	assert.Equal(t, "abandoned", described()["g"])
	assert.Equal(t, "abandoned, blocks trimming", described()["h"])
}
