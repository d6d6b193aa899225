package partition

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
)

// A partition on a server that is down fails again and again while others are acquired: that is one
// log line. The trouble is over when no partition fails.
func TestTries_oneOutage(t *testing.T) {
	t.Parallel()
	var log redistest.Log
	tries, now := newTries(Config{Name: "me", Logger: log.Logger()}), time.Now()
	started := map[int]int{}
	start := func(p int) { started[p]++ }
	for range 5 {
		now = now.Add(time.Hour)
		tries.want(now, []int{0, 1, 2}, start)
		tries.answered(now, try{partition: 0, err: errors.New("down")})
		tries.answered(now, try{partition: 1})
		tries.answered(now, try{partition: 2, wait: time.Second})
	}
	assert.Equal(t, map[int]int{0: 5, 1: 5, 2: 5}, started)
	assert.Equal(t, 1, log.Count("failed; retrying"))
	assert.Zero(t, log.Count("works again"))
	now = now.Add(time.Hour)
	tries.want(now, []int{0, 1}, start)
	tries.answered(now, try{partition: 0})
	assert.Equal(t, 1, log.Count("works again"))
	tries.answered(now, try{partition: 1})
	assert.True(t, tries.none())
}

// What is not wanted any more is no trouble any more.
func TestTries_dropped(t *testing.T) {
	t.Parallel()
	var log redistest.Log
	tries, now := newTries(Config{Name: "me", Logger: log.Logger()}), time.Now()
	tries.want(now, []int{0, 1}, func(int) {})
	tries.answered(now, try{partition: 0, err: errors.New("down")})
	tries.want(now, []int{1}, func(int) {})
	assert.Equal(t, 1, log.Count("works again"))
	tries.want(now, nil, func(int) {}) // a try is running
	tries.answered(now, try{partition: 1, err: errors.New("down")})
	assert.Empty(t, tries.wanted)
	assert.Zero(t, tries.failing)
}
