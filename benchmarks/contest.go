package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"
)

// contestant is one of those that are compared.
type contestant int

const (
	ours contestant = iota
	peer
	limit // hand-written loops

	contestants int = iota
)

// work is something that contestants are measured at.
type work struct {
	rows   []row
	by     entrants
	delay  time.Duration // that a proxy between client and server adds in each direction
	rounds int           // at most, for what is slow or a count that repetition doesn't change; 0: no bound
}

// row is one line of the table.
type row struct {
	name string
	unit unit
	want []want
}

// entrants are the ways in which contestants do a work; nil: there is nothing to compare.
type entrants [contestants]measurement

// measurement does a work once and returns a figure for each row of it; it may return more.
type measurement func(*run) []float64

// result holds the figures of one row, in the order of the rounds.
type result struct {
	row
	figures [contestants][]float64
}

// plan is what to measure.
type plan struct {
	works  []work
	rounds int
	scale  scale
}

// compete measures all works in rounds. The contestants of a work follow each other at once, in an
// order that alternates, so that what disturbs the machine disturbs all alike.
func (p plan) compete(addr string) ([]result, error) {
	results := make([][]result, len(p.works))
	for i, w := range p.works {
		for _, row := range w.rows {
			results[i] = append(results[i], result{row: row})
		}
	}
	order := []contestant{ours, peer, limit}
	for round := range p.rounds {
		for i, w := range p.works {
			if w.rounds > 0 && round >= w.rounds {
				continue
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, p.rounds, w.rows[0].name)
			for _, c := range order {
				if w.by[c] == nil {
					continue
				}
				figures, err := measure(addr, w.delay, p.scale, w.by[c])
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

// matching returns the works with a row whose name matches.
func matching(works []work, pattern *regexp.Regexp) []work {
	return slices.DeleteFunc(works, func(w work) bool {
		return !slices.ContainsFunc(w.rows, func(r row) bool { return pattern.MatchString(r.name) })
	})
}
