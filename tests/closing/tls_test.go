package closing

import (
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A read is ended by closing our side only. In TLS that is an alert, and the server hangs up on it as it does on the
// end of a plain connection: else Close would take as long as it takes to lose patience with the server.
func TestTLS_closeOfAnIdleSubscription(t *testing.T) {
	t.Parallel()
	b := fixture.NewTLS(t)
	quickest := time.Hour
	for range 10 { // on a busy machine not each of them is quick
		subscriber, _ := b.Subscribe(fixture.GroupConfig())
		b.Eventually("the reader waits", func() bool { return blockedReaders(b) == 1 })
		began := time.Now()
		require.NoError(t, subscriber.Close())
		took := time.Since(began)
		assert.Less(t, took, quick)
		quickest = min(quickest, took)
	}
	t.Log("quickest of 10:", quickest)
	assert.Less(t, quickest, 50*time.Millisecond)
}

func TestTLS_closeLosesNothingThatIsJustComing(t *testing.T) {
	t.Parallel()
	closeLosesNothing(fixture.NewTLS(t), 1000)
}
