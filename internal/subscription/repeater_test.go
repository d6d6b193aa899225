package subscription

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// runsOf starts a repeater, and returns when its runs begin. Each takes the given time.
func runsOf(ctx context.Context, r *repeater, took time.Duration) (at *[]time.Duration) {
	at, began := new([]time.Duration), time.Now()
	r.work = func(context.Context) {
		*at = append(*at, time.Since(began))
		time.Sleep(took)
	}
	r.start(ctx)
	return at
}

func TestRepeater_pausesBetweenRuns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		repeater *repeater
		took     time.Duration
		want     []time.Duration
	}{
		"after a pause":    {&repeater{every: time.Minute}, 0, []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute}},
		"at once":          {&repeater{every: time.Minute, atOnce: true}, 0, []time.Duration{0, time.Minute, 2 * time.Minute, 3 * time.Minute}},
		"runs take long":   {&repeater{every: time.Minute}, 30 * time.Second, []time.Duration{time.Minute, 150 * time.Second}},
		"longer than that": {&repeater{every: time.Minute}, 2 * time.Minute, []time.Duration{time.Minute}},
		"never":            {&repeater{atOnce: true}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				at := runsOf(t.Context(), test.repeater, test.took)
				time.Sleep(3*time.Minute + time.Second)
				test.repeater.end()
				assert.Equal(t, test.want, *at)
				time.Sleep(time.Hour)
				assert.Equal(t, test.want, *at, "none after the end")
			})
		})
	}
}

func TestRepeater_jitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &repeater{every: time.Minute, jitter: 0.25}
		at := runsOf(t.Context(), r, 0)
		time.Sleep(time.Hour)
		r.end()
		last := time.Duration(0)
		differ := false
		for _, run := range *at {
			assert.LessOrEqual(t, run-last, time.Minute)
			assert.GreaterOrEqual(t, run-last, 45*time.Second)
			differ = differ || run-last < 59*time.Second
			last = run
		}
		assert.True(t, differ)
	})
}

func TestRepeater_endWaitsForARun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &repeater{every: time.Minute}
		at := runsOf(ctx, r, time.Second)
		time.Sleep(time.Minute + 400*time.Millisecond)
		cancel()
		began := time.Now()
		r.end()
		assert.Equal(t, 600*time.Millisecond, time.Since(began))
		r.end()
		time.Sleep(time.Hour)
		assert.Len(t, *at, 1)
	})
}

func TestRepeater_noneBeginsAfterItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &repeater{every: time.Minute}
		at := runsOf(ctx, r, 0)
		time.Sleep(90 * time.Second)
		cancel()
		time.Sleep(time.Hour)
		r.end()
		assert.Len(t, *at, 1)
	})
}

func TestRepeater_endBeforeStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &repeater{every: time.Minute}
		r.end()
		at := runsOf(t.Context(), r, 0)
		repeaters{r, &repeater{}}.end()
		time.Sleep(time.Hour)
		assert.Empty(t, *at)
	})
}
