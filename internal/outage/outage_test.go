package outage_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
)

var errDown = errors.New("the server is down")

// moved is the error of a node whose slot has moved.
type moved struct{}

func (moved) Error() string { return "MOVED 2719 127.0.0.1:7001" }
func (moved) RedisError()   {}

func TestOutage_logsItsBeginningAndItsEnd(t *testing.T) {
	t.Parallel()
	var log redistest.Log
	trouble := outage.Outage{What: "reading", Logger: log.Logger()}
	trouble.Over()
	assert.Zero(t, log.Count("reading"))
	for range 3 {
		trouble.Failed(errDown)
	}
	assert.Equal(t, 1, log.Count("reading failed; retrying"))
	trouble.Over()
	trouble.Over()
	assert.Equal(t, 1, log.Count("reading works again"))
	trouble.Failed(errDown)
	assert.Equal(t, 2, log.Count("reading failed; retrying"))
}

func TestOutage_aMoveIsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log redistest.Log
		trouble := outage.Outage{What: "reading", Logger: log.Logger()}
		trouble.Failed(moved{})
		time.Sleep(2 * time.Second)
		trouble.Failed(moved{})
		trouble.Over()
		assert.Zero(t, log.Count("reading"))
		trouble.Failed(moved{})
		time.Sleep(2*time.Second + 1)
		trouble.Failed(moved{})
		trouble.Over()
		assert.Equal(t, 1, log.Count("failed; retrying"))
		assert.Equal(t, 1, log.Count("works again"))
	})
}

func TestOutage_pausesGrow(t *testing.T) {
	t.Parallel()
	const longest = 100 * time.Millisecond
	var log redistest.Log
	atRandom := outage.Outage{What: "reading", Logger: log.Logger()}
	var counted []int
	chosen := outage.Outage{What: "reading", Logger: log.Logger(), Longest: longest, Jitter: func(pause time.Duration, failures int) time.Duration {
		counted = append(counted, failures)
		return pause
	}}
	for _, ms := range []int64{20, 40, 80, 100, 100} {
		pause := atRandom.Failed(errDown)
		assert.Equal(t, ms, chosen.Failed(errDown).Milliseconds())
		assert.LessOrEqual(t, ms/2, pause.Milliseconds())
	}
	assert.Equal(t, []int{1, 2, 3, 4, 5}, counted)
	for range 10 {
		assert.LessOrEqual(t, atRandom.Failed(errDown), outage.LongestPause)
	}
}
