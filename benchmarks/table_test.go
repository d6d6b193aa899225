package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPeersLine(t *testing.T) {
	for name, test := range map[string]struct {
		result result
		want   []string
	}{
		"a ratio of ours to each, by round": {
			result{row{"speed", perSecond, nil}, [][]float64{{1000, 4200, 9000}, {100, 300, 800}, {2000, 8400, 18_000}}},
			[]string{"speed", "4,200/s", "300/s (11.2)", "8,400/s (0.5)"},
		},
		"a count is the sum": {
			result{row{"lost", count, nil}, [][]float64{{0, 0, 0}, {0, 0, 1}}},
			[]string{"lost", "0", "1"},
		},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, test.result.peersLine()) })
	}
}

func TestLine(t *testing.T) {
	for name, test := range map[string]struct {
		result result
		want   []string
	}{
		"a speed, compared round by round": {
			result{row{"speed", perSecond, []want{{limit, 0.85}, {peer, 10}}}, [][]float64{{1000, 4200, 9000}, {100, 300, 800}, {1000, 5000, 10_000}}},
			[]string{"speed", "4,200/s", "300/s", "5,000/s", "11.2", "0.9", "≥ 0.85x limit, ≥ 10x peer", "yes"},
		},
		"a time, where less is better": {
			result{row{"time", duration, []want{{peer, 1}}}, [][]float64{{0.0030004}, {0.002}, nil}},
			[]string{"time", "3ms", "2ms", "-", "1.5", "-", "≤ 1x peer", "no"},
		},
		"a bound, and a peer that gave up": {
			result{row{"bound", duration, []want{{ours, 2}}}, [][]float64{{1.5}, {math.Inf(1)}, nil}},
			[]string{"bound", "1.5s", "gave up", "-", "-", "-", "≤ 2s", "yes"},
		},
		"a count": {
			result{row{"count", count, []want{{ours, 1}}}, [][]float64{{1}, {1.75}, nil}},
			[]string{"count", "1", "1.75", "-", "0.571", "-", "≤ 1", "yes"},
		},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, test.result.line()) })
	}
}
