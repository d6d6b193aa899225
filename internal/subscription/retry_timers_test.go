package subscription

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRetryTimers_expireOnceUnderTheLock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		timers := retryTimers{lock: &mu}
		expired := 0
		mu.Lock()
		timers.start(&entry{}, time.Second, true, func() { expired++ })
		timers.start(&entry{}, 2*time.Second, false, func() { expired++ })
		assert.Equal(t, 1, timers.blocking)
		mu.Unlock()
		time.Sleep(1500 * time.Millisecond)
		mu.Lock()
		assert.Equal(t, []int{1, 0}, []int{expired, timers.blocking})
		mu.Unlock()
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, 2, expired)
	})
}

func TestRetryTimers_stopEndsAllPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		timers := retryTimers{lock: &mu}
		first, second := &entry{}, &entry{}
		mu.Lock()
		for _, e := range []*entry{first, second} {
			timers.start(e, time.Second, true, func() { assert.Fail(t, "it was stopped") })
		}
		time.Sleep(time.Second) // both timers fire, and wait for the lock
		timers.stop(map[string]*entry{"1-0": first, "2-0": second, "3-0": {}})
		mu.Unlock()
		synctest.Wait()
	})
}
