package delayed

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// moves records when Move is called, and returns what next returns.
type moves struct {
	began time.Time
	at    []time.Duration
	next  func(n int) (time.Duration, error)
}

func (m *moves) move(context.Context) (time.Duration, error) {
	m.at = append(m.at, time.Since(m.began))
	return m.next(len(m.at))
}

func newMoves(next func(n int) (time.Duration, error)) *moves {
	return &moves{began: time.Now(), next: next}
}

const none = time.Duration(-1)

func TestMover_callsWhenDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMoves(func(n int) (time.Duration, error) {
			return []time.Duration{time.Second, 0, 0, time.Millisecond, none}[n-1], nil
		})
		mover := &Mover{Move: m.move}
		mover.Arm(time.Minute)
		time.Sleep(time.Second)
		mover.Arm(2 * time.Second) // earlier
		mover.Arm(time.Hour)       // later: it changes nothing
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, []time.Duration{3 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second, 4*time.Second + minPause}, m.at)
		mover.Close()
		mover.Arm(0)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, m.at, 5, "it is closed")
	})
}

func TestMover_retries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		m := newMoves(func(n int) (time.Duration, error) {
			if n <= 20 {
				return 0, errors.New("down")
			}
			return none, nil
		})
		mover := &Mover{Move: m.move, Failed: func(error) bool { failures++; return true }}
		mover.Arm(0)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, m.at, 21)
		assert.Equal(t, 20, failures)
		for i := range m.at[1:] {
			assert.LessOrEqual(t, m.at[i+1]-m.at[i], longestRetry*3/2)
		}
		mover.Close()
	})
}

func TestMover_givesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMoves(func(int) (time.Duration, error) { return 0, errors.New("no right") })
		mover := &Mover{Move: m.move, Failed: func(error) bool { return false }}
		mover.Arm(0)
		time.Sleep(time.Hour)
		mover.Arm(0)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, m.at, 1)
		mover.Close()
	})
}

// Close ends the context of a call, and waits for it. What was armed meanwhile is not lost.
func TestMover_armedDuringACall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		entered := make(chan struct{}, 10)
		mover := &Mover{
			Move: func(ctx context.Context) (time.Duration, error) {
				calls.Add(1)
				entered <- struct{}{}
				select {
				case <-time.After(time.Second):
					return none, nil
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			},
			Failed: func(error) bool { panic("the end is no failure") },
		}
		mover.Arm(0)
		<-entered
		mover.Arm(time.Millisecond)
		<-entered
		assert.EqualValues(t, 2, calls.Load())
		mover.Close()
		synctest.Wait()
		assert.EqualValues(t, 2, calls.Load())
	})
}

func TestMover_neverArmed(t *testing.T) {
	t.Parallel()
	new(Mover).Close()
}
