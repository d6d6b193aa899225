package stream_test

import (
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The group vanished, and a newcomer may have created it first. A member with a checkpoint sets it
// there, once.
func TestRecreate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		newcomer string // where a newcomer created the group; empty: no newcomer
		stale    bool   // our checkpoint is stale
		member   bool   // we are in the group
		want     int    // entries that are delivered then
	}{
		"nobody was faster":                {want: 6},
		"nobody was faster, stale":         {stale: true, want: 6},
		"newcomer at the end":              {newcomer: "$", want: 6},
		"newcomer at the beginning":        {newcomer: "0", want: 6},
		"newcomer at the end, stale":       {newcomer: "$", stale: true, want: 0},
		"newcomer at the beginning, stale": {newcomer: "0", stale: true, want: 10},
		"the group never went":             {newcomer: "$", member: true, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, key := redistest.Shared().Client(t), ownKey(t)
			added := add(t, client, key, 10)
			group := stream.NewGroup(client, key, groupName, "a")
			t.Cleanup(group.Close)
			if test.newcomer != "" {
				newcomer := stream.NewGroup(client, key, groupName, "newcomer")
				t.Cleanup(newcomer.Close)
				require.NoError(t, newcomer.Join(t.Context(), test.newcomer))
			}
			if test.member {
				require.NoError(t, group.Join(t.Context(), test.newcomer))
			}
			mark := stream.Checkpoint{ID: added[3], Read: 7, Recent: !test.stale}
			require.NoError(t, recreate(t, group, mark))
			read(t, group, 1)
			mark.ID = added[1] // another member with an older checkpoint
			require.NoError(t, recreate(t, group, mark))
			if test.want > 0 {
				assert.Len(t, read(t, group, 100), test.want-1, "where the first one set it")
			}
			info, err := client.XInfoGroups(t.Context(), key).Result()
			require.NoError(t, err)
			assert.Equal(t, added[9], info[0].LastDeliveredID)
		})
	}
}

func TestRecreate_ofAStreamThatBeganAnew(t *testing.T) {
	t.Parallel()
	client, key := redistest.Shared().Client(t), ownKey(t)
	group := stream.NewGroup(client, key, groupName, "a")
	t.Cleanup(group.Close)
	for _, mark := range []stream.Checkpoint{{ID: "9999999999999-0"}, {ID: "1-0", Read: 1000, Recent: true}} {
		require.NoError(t, client.Del(t.Context(), key).Err())
		require.NoError(t, recreate(t, group, mark), "no stream")
		add(t, client, key, 3)
		assert.Len(t, read(t, group, 100), 3)
		require.NoError(t, client.XGroupDestroy(t.Context(), key, groupName).Err())
		require.NoError(t, recreate(t, group, mark), "another stream")
		assert.Len(t, read(t, group, 100), 3)
	}
}

func recreate(t *testing.T, group *stream.Group, mark stream.Checkpoint) error {
	t.Helper()
	_, err := group.Recreate(t.Context(), mark)
	return err
}
