package publishing

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A replica that is promoted during a pipeline refuses the first messages and takes the later ones.
// If the first ones were sent again, they would be out of order.
func TestPublish_doesNotSendAgainInFrontOfWhatWentIn(t *testing.T) {
	t.Parallel()
	for name, deadline := range map[string]time.Duration{"with a deadline": time.Minute, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master := redistest.Start(t, "--repl-diskless-sync-delay", "0")
			replica := redistest.StartReplica(t, master)
			admin := replica.Client(t)
			proxy := redistest.NewProxy(t, replica.Addr, 0)
			client := replica.Client(t, func(o *redis.Options) { o.Addr, o.MaxRetries = proxy.Addr, -1 })
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client})
			refused, sent, promoted := make(chan struct{}, 1000), 0, false
			proxy.OnReply(func(chunk []byte) (int, bool) {
				if bytes.Contains(chunk, []byte("-READONLY")) {
					refused <- struct{}{}
				}
				return len(chunk), false
			})
			proxy.OnSend(func(chunk []byte) (int, bool) {
				if sent > 32<<10 && !promoted { // the first messages have arrived, others follow
					promoted = true
					redistest.Within(t, "a refusal", refused)
					assert.NoError(t, admin.Do(context.Background(), "REPLICAOF", "NO", "ONE").Err())
				}
				sent += len(chunk)
				return len(chunk), false
			})

			topic := fixture.NewTopic(t)
			messages := fixture.Heavy("m", 200, 1000)
			if deadline > 0 {
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				messages[0].SetContext(ctx)
			}
			err := redistest.Within(t, "Publish", fixture.GoPublish(publisher, topic, messages...))
			require.ErrorContains(t, err, "READONLY")
			failure := fixture.AsPublishError(t, err)
			require.NotEmpty(t, failure.Failed)
			require.NotEmpty(t, failure.Published)
			assert.Empty(t, failure.Uncertain)
			n := len(failure.Failed)
			assert.Equal(t, fixture.UUIDs(messages[:n]), fixture.UUIDs(failure.Failed))
			assert.Equal(t, fixture.UUIDs(messages[n:]), fixture.UUIDs(failure.Published))
			assert.Equal(t, fixture.UUIDs(messages[n:]), fixture.StoredUUIDs(t, admin, topic))
		})
	}
}
