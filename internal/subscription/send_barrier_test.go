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
		b := newSendBarrier()
		enter := func() bool {
			_, admitted := b.enter()
			return admitted
		}
		assert.True(t, enter())
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			assert.False(t, enter(), "it is closed")
			b.leave()
		})
		b.close()
		assert.Equal(t, time.Second, time.Since(began))
		b.close()
	})
}

func TestSendBarrier_pauseEndsOffers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newSendBarrier()
		for range 3 {
			pausing, admitted := b.enter()
			assert.True(t, admitted)
			left := false
			go func() {
				<-pausing
				time.Sleep(time.Second)
				left = true
				b.leave()
			}()
			b.pause()
			assert.True(t, left)
			b.pause()
			_, admitted = b.enter()
			assert.False(t, admitted, "it is paused")
			b.resume()
			b.resume()
		}
		b.pause()
		b.close()
		b.resume()
		_, admitted := b.enter()
		assert.False(t, admitted, "it is closed")
	})
}
