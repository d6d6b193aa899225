package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// want is a requirement of a row. It compares our figure with the bound times the figure of another
// contestant, or with the bound itself if that is ours.
type want struct {
	of    contestant
	bound float64
}

// report has the results of a plan.
type report struct {
	machine string
	rounds  int
	results []result
}

// markdown returns the page for the repository.
func (r report) markdown() string {
	return fmt.Sprintf(`# Benchmarks

Written by `+"`make bench`"+` on %s: %s.

Medians of %d rounds of one interleaved run against one private server without persistence; what is
slow, or a count, is of fewer. A ratio is the median of the rounds' own ratios. Payloads have
256 bytes and configurations are the defaults unless a row says otherwise.

- **ours**: this library, with a client of its Connect; **peer**: github.com/ThreeDotsLabs/watermill-redisstream v1.4.5, which claims what is
  abandoned after 60 s, so that the handover is given up; **limit**: hand-written go-redis loops that decode nothing:
  a pipeline of XADD, and XREADGROUP COUNT 100 with one XACK a batch.
- A subscription's speed is what the server knows to be acknowledged, the start included.
- [PARTITIONS.md](PARTITIONS.md) has topics with partitions in a cluster.

%s`, time.Now().Format(time.DateOnly), r.machine, r.rounds, r.table())
}

// table returns a Markdown table with aligned columns.
func (r report) table() string {
	lines := make([][]string, 0, 1+len(r.results))
	lines = append(lines, []string{"work", "ours", "peer", "limit", "ours/peer", "ours/limit", "required", "met"})
	for _, result := range r.results {
		lines = append(lines, result.line())
	}
	return aligned(lines)
}

// aligned returns a Markdown table; the first line is its head.
func aligned(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
	}
	lines = slices.Insert(lines, 1, rule)
	var text strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			fmt.Fprintf(&text, "| %-*s ", widths[i], cell)
		}
		text.WriteString("|\n")
	}
	return text.String()
}

func (r result) line() []string {
	cells := []string{r.name}
	for _, figures := range r.figures {
		cells = append(cells, cell(figures, r.unit.write))
	}
	for _, other := range []contestant{peer, limit} {
		cells = append(cells, cell(r.ratios(other), writeRatio))
	}
	required, met := make([]string, len(r.want)), "yes"
	for i, want := range r.want {
		required[i] = r.describe(want)
		if !r.meets(want) {
			met = "no"
		}
	}
	return append(cells, strings.Join(required, ", "), met)
}

// cell returns the median as text.
func cell(figures []float64, write func(float64) string) string {
	if len(figures) == 0 {
		return "-"
	}
	return write(median(figures))
}

func writeRatio(ratio float64) string { return fmt.Sprintf("%.3g", ratio) }

// ratios returns the ratio of our figures to those of another contestant, by round. It is empty if
// the other gave up.
func (r result) ratios(other contestant) []float64 {
	var ratios []float64
	for i, figure := range r.figures[other] {
		if !math.IsInf(figure, 1) {
			ratios = append(ratios, r.figures[ours][i]/figure)
		}
	}
	return ratios
}

func (r result) meets(w want) bool {
	figures := r.figures[ours]
	if w.of != ours {
		figures = r.ratios(w.of)
	}
	if r.unit == perSecond {
		return median(figures) >= w.bound
	}
	return median(figures) <= w.bound
}

func (r result) describe(w want) string {
	sign := "≤"
	if r.unit == perSecond {
		sign = "≥"
	}
	if w.of == ours {
		return sign + " " + r.unit.write(w.bound)
	}
	return fmt.Sprintf("%s %gx %s", sign, w.bound, [...]string{peer: "peer", limit: "limit"}[w.of])
}
