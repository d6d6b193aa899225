package closing

import (
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Close ends a read by closing the sending side of the connection. In TLS that is an alert, and the
// server closes the connection in reply. If it did not, Close would wait until it cuts the socket.
func TestTLS_closeOfAnIdleSubscription(t *testing.T) {
	t.Parallel()
	b := fixture.NewTLS(t)
	quickest := time.Hour
	for range 10 { // on a busy machine some are slow
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
