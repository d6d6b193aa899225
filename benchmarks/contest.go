package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"
)

// contestant is one of the programs under comparison.
type contestant int

const (
	ours contestant = iota
	peer
	limit // a hand-written loop
)

// work is a task whose performance is measured.
type work struct {
	rows   []row
	by     entrants
	delay  time.Duration // of a proxy between client and server, in each direction
	rounds int           // limit, for slow works and for counts that do not vary; 0: none
}

// row is one row of the table.
type row struct {
	name string
	unit unit
	want []want
}

// entrants has the measurement of each contestant; nil: it does not take part.
type entrants []measurement

// measurement does a work once and returns a figure for each of its rows. It may return more.
type measurement func(*run) []float64

// result has the figures of one row, in the order of the rounds.
type result struct {
	row
	figures [][]float64 // by contestant
}

// plan lists what to measure.
type plan struct {
	works   []work
	only    *regexp.Regexp // of the works, those with a row that matches
	rounds  int
	scale   scale
	brokers []broker // by contestant
}

// compete measures the works in rounds. The contestants of a work run directly after each other, in
// alternating order, so that disturbances on the machine affect all of them.
func (p plan) compete() ([]result, error) {
	works := matching(p.works, p.only)
	results := make([][]result, len(works))
	for i, w := range works {
		for _, row := range w.rows {
			results[i] = append(results[i], result{row: row, figures: make([][]float64, len(p.brokers))})
		}
	}
	order := make([]int, len(p.brokers))
	for c := range order {
		order[c] = c
	}
	for round := range p.rounds {
		for i, w := range works {
			if w.rounds > 0 && round >= w.rounds {
				continue
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, p.rounds, w.rows[0].name)
			for _, c := range order {
				if c >= len(w.by) || w.by[c] == nil {
					continue
				}
				figures, err := measure(p.brokers[c], w.delay, p.scale, w.by[c])
				if err != nil {
					return nil, fmt.Errorf("%s: %w", w.rows[0].name, err)
				}
				for j := range w.rows {
					results[i][j].figures[c] = append(results[i][j].figures[c], figures[j])
				}
			}
		}
		slices.Reverse(order)
	}
	return slices.Concat(results...), nil
}

// matching returns the works that have a row with a matching name.
func matching(works []work, pattern *regexp.Regexp) []work {
	return slices.DeleteFunc(works, func(w work) bool {
		return !slices.ContainsFunc(w.rows, func(r row) bool { return pattern.MatchString(r.name) })
	})
}
