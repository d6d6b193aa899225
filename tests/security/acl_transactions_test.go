package security

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commitAs commits a message as a subscriber of the README with these changes.
func commitAs(t *testing.T, server *fixture.ACLServer, change ...string) (*fixture.Bench, error) {
	t.Helper()
	b := server.NewBench(t)
	config := fixture.GroupConfig()
	config.Client = fixture.ConnectURL(b, server.CreateUser(b, "subscriber"))
	_, messages := b.Subscribe(config)
	b.Publish(1)
	msg := fixture.Receive(t, messages)
	rules := make([]string, len(change))
	for i, rule := range change {
		rules[i] = strings.ReplaceAll(rule, "orders", b.Topic)
	}
	require.NoError(t, b.Client.ACLSetUser(t.Context(), "subscriber"+b.Topic, rules...).Err())
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	return b, redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		tx.Set(t.Context(), "{"+b.Topic+"}:first", 1, 0)
		tx.Incr(t.Context(), "{"+b.Topic+"}:paid")
		return publisher.In(tx).Publish("{"+b.Topic+"}:events", fixture.Numbered("event", 1)...)
	})
}

// The README lists the rights that a Commit needs. A right that is missing changes nothing, and the
// error names the command.
func TestACL_commit(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	require.Contains(t, fixture.README(t), "| `Commit` | the subscriber: each command that is queued, on its keys |")
	rights := []string{"+set", "+incr", "~{orders}:first", "~{orders}:paid", "~{orders}:events"}
	b, err := commitAs(t, server, rights...)
	require.NoError(t, err)
	assert.Empty(t, server.Denied(b, "subscriber"))
	for name, change := range map[string][]string{
		"set":  {"-set"},
		"incr": {"-incr"},
		"xadd": {"-xadd"},
		"xack": {"-xack"},
	} {
		t.Run("without "+name, func(t *testing.T) {
			t.Parallel()
			b, err := commitAs(t, server, slices.Concat(rights, change)...)
			require.ErrorContains(t, err, name+": NOPERM")
			assert.EqualValues(t, 1, b.Pending())
			assert.Zero(t, b.Client.Exists(t.Context(), "{"+b.Topic+"}:first", "{"+b.Topic+"}:paid").Val())
		})
	}
	t.Run("without a key", func(t *testing.T) {
		t.Parallel()
		b, err := commitAs(t, server, rights[:4]...)
		require.ErrorContains(t, err, "NOPERM")
		assert.EqualValues(t, 1, b.Pending())
		assert.Zero(t, b.Client.Exists(t.Context(), "{"+b.Topic+"}:first", "{"+b.Topic+"}:paid").Val())
	})
}

// A user of a README row for one function.
func clientWith(b *fixture.Bench, server *fixture.ACLServer, rules ...string) redis.UniversalClient {
	b.Helper()
	rules = append([]string{"reset", "on", ">secret", "+ping"}, rules...)
	require.NoError(b, b.Client.ACLSetUser(b.Context(), "user"+b.Topic, rules...).Err())
	return fixture.ConnectURL(b, "redis://user"+b.Topic+":secret@"+server.Addr)
}

func TestACL_txPublisher(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	require.Contains(t, fixture.README(t), "| `TxPublisher` in a transaction of your own | the publisher `+multi +exec` |")
	b := server.NewBench(t)
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	publish := func(rights ...string) error {
		client := fixture.ConnectURL(b, server.CreateUser(b, "publisher", rights...))
		_, err := client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
			return publisher.In(tx).Publish(b.Topic, fixture.Numbered("m", 1)...)
		})
		return err
	}
	require.NoError(t, publish("+multi", "+exec"))
	assert.Empty(t, server.Denied(b, "publisher"))
	require.ErrorContains(t, publish("+exec"), "multi")
}

func TestACL_keyRepository(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	require.Contains(t, fixture.README(t), "| `KeyRepository` | `~dedup:* +set` |")
	b := server.NewBench(t)
	isDuplicate := func(rules ...string) error {
		repository, err := redisstream.NewKeyRepository(redisstream.KeyRepositoryConfig{Client: clientWith(b, server, rules...), Window: time.Minute})
		require.NoError(t, err)
		_, err = repository.IsDuplicate(t.Context(), b.Topic)
		return err
	}
	require.NoError(t, isDuplicate("~"+redisstream.DefaultKeyPrefix+"*", "+set"))
	assert.Empty(t, server.Denied(b, "user"))
	require.ErrorContains(t, isDuplicate("~"+redisstream.DefaultKeyPrefix+"*"), "NOPERM")
	require.ErrorContains(t, isDuplicate("~other", "+set"), "NOPERM")
}
