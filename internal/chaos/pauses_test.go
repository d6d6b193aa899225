package main

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The commands reach the processes, the key reaches the server, and the history has both.
func TestPauses(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, time.Second, strict...)
	s.tell(1, work{})
	for _, w := range s.workers {
		s.eventually("subscribed", func() bool { return s.count(w, subscribed, "") == 1 })
	}
	var resumes []func()
	for target, w := range s.workers {
		s.eventually("the worker obeys", func() bool {
			resumes = append(resumes, s.pauseSubscription(fault{kind: pauseOne, target: target}))
			return s.count(w, paused, "") > 0
		})
	}
	resumes = append(resumes, s.pauseGroup(t.Context(), fault{kind: pauseGroup, lasts: time.Minute}))
	key := redisstream.PauseKey(s.topic, strict[0].Name)
	require.EqualValues(t, 1, s.client.Exists(t.Context(), key).Val())
	s.pauseGroup(t.Context(), fault{kind: pauseGroup, lasts: time.Millisecond})()
	require.EqualValues(t, 1, s.client.Exists(t.Context(), key).Val(), "a pause that never began ends no other")
	s.tell(5, work{})
	for _, resume := range resumes {
		resume()
	}
	require.Zero(t, s.client.Exists(t.Context(), key).Val())
	h, v := s.verdict()
	assert.True(t, v.ok(), "%+v", v)
	require.Len(t, h.paused[strict[0].Name], 1)
	p := h.paused[strict[0].Name][0]
	assert.True(t, p.around.from < p.from && p.from < p.to && p.to < p.around.to, "%+v", p)
	for _, w := range s.workers {
		assert.NotZero(t, s.count(w, resuming, ""))
	}
}
