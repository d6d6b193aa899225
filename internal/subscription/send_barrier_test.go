package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSendBarrier_closeWaitsForThoseInside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b sendBarrier
		assert.True(t, b.enter())
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			assert.False(t, b.enter(), "it is closed")
			b.leave()
		})
		b.close()
		assert.Equal(t, time.Second, time.Since(began))
		b.close()
	})
}
