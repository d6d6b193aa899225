package main

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

var committing = group{Name: "committing", MaxInFlight: 4, Commits: true}

// moved changes a story to one with these events, and the balances that they make.
func moved(events ...entry) func(h *history) {
	return func(h *history) {
		h.transferred, h.balances = events, map[string]int64{}
		for _, e := range events {
			move := transferOf(e.uuid)
			h.balances[move.from] -= move.amount
			h.balances[move.to] += move.amount
		}
	}
}

func TestCheck_transfers(t *testing.T) {
	t.Parallel()
	const (
		byA       = "D 10 0 1-0 1 0-1, T 11 0 1-0, A 12 0 1-0"
		byB       = "D 20 0 1-0 2 0-1, T 21 0 1-0, A 22 0 1-0"
		refusedB  = "D 20 0 1-0 2 0-1, H 21 0 1-0, N 22 0 1-0"
		killedByA = "D 10 0 1-0 1 0-1"
	)
	first, second := entry{"1-0", "0-1"}, entry{"2-0", "0-1"}
	still := "P 18 -1 9, "
	for name, c := range map[string]struct {
		story
		a, b    string
		events  []entry
		change  func(h *history)
		wrong   int
		refused int
	}{
		"committed once":                     {a: byA, events: []entry{first}},
		"committed, and nobody heard of it":  {a: killedByA, events: []entry{first}, story: story{killed: map[string]int64{"a": 11}}},
		"never committed":                    {a: killedByA, wrong: 1},
		"never committed, Commit said so":    {a: byA, wrong: 1},
		"never delivered":                    {wrong: 1},
		"two events":                         {a: byA, events: []entry{first, first}, wrong: 1},
		"two events, the server was down":    {a: byA, b: byB, events: []entry{first, first}, story: story{troubles: []span{{14, 18}}}, wrong: 1},
		"two events, destroyed":              {a: byA, b: byB, events: []entry{first, first}, story: story{destroyed: []span{{14, 15}}}},
		"two events, destroyed before":       {a: byA, b: byB, events: []entry{first, first}, story: story{destroyed: []span{{5, 6}}, troubles: []span{{14, 18}}}, wrong: 1},
		"three events, destroyed once":       {a: byA, b: byB, events: []entry{first, first, first}, story: story{destroyed: []span{{14, 15}}}, wrong: 1},
		"refused":                            {a: still + byA, b: refusedB, events: []entry{first}, refused: 1},
		"both heard that they committed":     {a: still + byA, b: byB, events: []entry{first}, wrong: 1},
		"both heard so, the clock jumped":    {a: byA, b: byB, events: []entry{first}, change: func(h *history) { h.jumps = []span{{14, 15}} }},
		"both heard so, the group destroyed": {a: byA, b: byB, events: []entry{first}, story: story{destroyed: []span{{14, 15}}}},
		"an event of no entry":               {a: byA, events: []entry{first, {"3-0", "0-3"}}, wrong: 1},
		"an event of another message":        {a: byA, events: []entry{{"1-0", "0-2"}}, wrong: 1},
		"published twice, committed twice": {
			a: byA + ", D 20 0 2-0 1 0-1, T 21 0 2-0, A 22 0 2-0", events: []entry{first, second}, change: publishedTwice,
		},
		"published twice, committed once": {
			a: byA + ", D 20 0 2-0 1 0-1, T 21 0 2-0, A 22 0 2-0", events: []entry{first}, change: publishedTwice, wrong: 1,
		},
		"an event of a message without a transfer": {
			a: byA + ", D 20 0 2-0 1 0-2, T 21 0 2-0, A 22 0 2-0", events: []entry{first, {"2-0", "0-2"}}, story: story{entries: 2}, wrong: 1,
		},
		"a balance is wrong": {
			a: byA, events: []entry{first}, wrong: 1,
			change: func(h *history) { h.balances[transferOf("0-1").from]++ },
		},
		"half of a transfer is missing": {
			a: byA, events: []entry{first}, wrong: 1,
			change: func(h *history) { delete(h.balances, transferOf("0-1").to) },
		},
		"a transfer has no event": {
			a: byA, wrong: 3, // the entry, and two accounts
			change: func(h *history) { moved(first)(h); h.transferred = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.group, c.journals = committing, map[string]string{"a": c.a, "b": c.b}
			c.story.change = func(h *history) {
				moved(c.events...)(h)
				if c.change != nil {
					c.change(h)
				}
			}
			v := c.verdict(t)
			assert.Len(t, v.transfers, c.wrong, "%v", v.transfers)
			assert.Equal(t, c.wrong == 0, v.ok(), "%+v", v)
			assert.Equal(t, c.refused, v.refused)
		})
	}
}

// publishedTwice puts the message into the stream again, as after an uncertain Publish.
func publishedTwice(h *history) {
	h.entries = append(h.entries, entry{"2-0", "0-1"})
	h.published["0-1"].uncertain = 1
}

// The transfers of many messages concern all accounts, and each moves something.
func TestTransferOf(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 1000 {
		move := transferOf("0-" + strconv.Itoa(n))
		assert.NotEqual(t, move.from, move.to)
		assert.Positive(t, move.amount)
		seen[move.from], seen[move.to] = true, true
	}
	assert.Len(t, slices.Collect(maps.Keys(seen)), accounts)
}
