package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// progress is a story of 100 messages, 0-1 to 0-100, that are published and handled while key 7
// fails. The ten messages of that key, and late others, take too long.
func progress(late int, change func(h *history)) story {
	var journal []string
	const s = int64(time.Second)
	for n := int64(1); n <= 100; n++ {
		at := n + s/10
		if keyOf(fmt.Sprint(n)) == "7" {
			at = n + 7*s
		} else if late > 0 {
			late--
			at = n + 3*s
		}
		journal = append(journal, fmt.Sprintf("D %d 0 %d-0 1 0-%d, A %d 0 %d-0", at, n, n, at+1, n))
	}
	return story{
		group:   group{Name: "failing", MaxInFlight: 200, FailingKeys: true},
		entries: 100, journals: one(strings.Join(journal, ", ")),
		change: func(h *history) {
			h.failing = []failingKey{{span{0, 8 * s}, "7"}}
			for uuid, p := range h.published {
				_, number, _ := strings.Cut(uuid, "-")
				_, _ = fmt.Sscan(number, &p.doneAt)
				p.tried = p.doneAt
			}
			if change != nil {
				change(h)
			}
		},
	}
}

// inJournal replaces texts in the journal.
func (s story) inJournal(old, text string) story {
	s.journals = one(strings.ReplaceAll(s.journals["a"], old, text))
	return s
}

// with adds events to the journal.
func (s story) with(events string) story {
	s.journals = one(s.journals["a"] + events)
	return s
}

func TestCheck_progress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		story
		stalled int
	}{
		"only the key that fails waits": {story: progress(0, nil)},
		"a few others wait":             {story: progress(10, nil)},
		"others wait":                   {story: progress(50, nil), stalled: 1},
		"others wait, their worker had read them and was killed": {story: progress(50, nil).inJournal(" 1 0-", " 2 0-")},
		"others wait, their worker did not run":                  {story: progress(50, nil).with(", P 3000000000 -1 2")},
		"others wait, their worker had no connection":            {story: progress(50, nil).with(", F 2000000000 0, W 3000000000 0")},
		"others wait, their worker did not run later":            {story: progress(50, nil).with(", P 9000000000 -1 8000000000"), stalled: 1},
		"others wait, the server was down": {
			story: progress(50, func(h *history) { h.troubles = []span{{10, int64(time.Second)}} }),
		},
		"others wait, the server was down long ago": {
			story: progress(50, func(h *history) { h.troubles = []span{{-int64(10 * time.Second), -int64(9 * time.Second)}} }), stalled: 1,
		},
		"others wait, there is a backlog": {
			story: progress(50, func(h *history) { h.troubles = []span{{-int64(10 * time.Second), -int64(5 * time.Second)}} }),
		},
		"others wait, the server was down later": {
			story: progress(50, func(h *history) { h.troubles = []span{{int64(4 * time.Second), int64(5 * time.Second)}} }), stalled: 1,
		},
		"others wait, the group was paused": {
			story: progress(50, func(h *history) {
				p := span{10, int64(time.Second)}
				h.paused = map[string][]groupPause{"failing": {{p, p}}}
			}),
		},
		"others wait, the group was recreated": {
			story: progress(50, func(h *history) { h.destroyed["failing"] = []span{{10, int64(time.Second)}} }),
		},
		"others wait, no key fails":          {story: progress(50, func(h *history) { h.failing = nil })},
		"others wait, the key failed before": {story: progress(50, func(h *history) { h.failing[0].span = span{-2, -1} })},
		"others wait, the group has no failing keys": {
			story: progress(50, func(h *history) { h.groups[0].FailingKeys = false }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := c.verdict(t)
			assert.Len(t, v.stalled, c.stalled, "%+v", v)
			assert.Equal(t, c.stalled == 0, v.ok(), "%+v", v)
		})
	}
}
