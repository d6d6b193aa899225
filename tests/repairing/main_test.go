// Package repairing tests what package admin changes.
package repairing

import (
	"testing"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// adminOf returns an Admin of a server.
func adminOf(tb testing.TB, client redis.UniversalClient) *admin.Admin {
	tb.Helper()
	a, err := admin.New(admin.Config{Client: client})
	require.NoError(tb, err)
	return a
}

// idsOf returns the IDs of the topic's entries.
func idsOf(b *fixture.Bench) (ids []string) {
	b.Helper()
	entries, err := b.Client.XRange(b.Context(), b.Topic, "-", "+").Result()
	require.NoError(b, err)
	for _, entry := range entries {
		ids = append(ids, entry.ID)
	}
	return ids
}
