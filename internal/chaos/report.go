package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// most is how many findings of a kind are printed without -v.
const most = 20

// report prints the figures of the run and the findings.
func (r *run) report(h *history, v *verdict) {
	sure, uncertain, errors := 0, 0, 0
	for _, p := range h.published {
		if p.done {
			sure++
		}
		if p.uncertain > 0 {
			uncertain++
		}
	}
	for _, s := range r.sources {
		errors += s.errors
	}
	fmt.Fprintf(r.out, "published %d messages, %d of them uncertain at first; %d calls of Publish failed\n", sure, uncertain, errors)
	fmt.Fprintf(r.out, "%d entries in the stream, %d deliveries in %d groups, by %d processes\n",
		len(h.entries), v.deliveries, len(h.groups), len(h.processes))
	fmt.Fprintf(r.out, "%d dead letters, %d times a key failed, %d times the clock jumped forward\n", v.deadLettered, len(h.failing), len(h.jumps))
	fmt.Fprintf(r.out, "%d transfers committed, %d commits refused because the consumer did not hold the entry\n", len(h.transferred), v.refused)
	fmt.Fprintln(r.out, "faults:")
	for _, kind := range slices.Sorted(maps.Keys(r.done)) {
		fmt.Fprintf(r.out, "  %5d %s\n", r.done[kind], kind)
	}
	r.reasons("delivered again after an ack because", v.duplicates)
	r.reasons("delivered again before an ack because", v.takenOver)
	r.reasons("never delivered with AutoAck because", v.missed)
	if r.options.verbose {
		r.findings("explained", v.explained)
	}
	r.findings("LOST", v.lost)
	r.findings("UNEXPLAINED", v.unexplained)
	r.findings("OUT OF ORDER", v.disorder)
	r.findings("DEAD LETTERS", v.deadLetters)
	r.findings("TRANSFERS", v.transfers)
	r.findings("STALLED", v.stalled)
	r.findings("DELIVERED IN A PAUSE", v.paused)
	r.findings("FAILED", v.failures)
	result := "PASS"
	if !v.ok() {
		result = fmt.Sprintf("FAIL: %d lost, %d unexplained, %d out of order, %d dead letters wrong, %d transfers wrong, %d stalled, "+
			"%d in a pause, %d other failures",
			len(v.lost), len(v.unexplained), len(v.disorder), len(v.deadLetters), len(v.transfers), len(v.stalled), len(v.paused), len(v.failures))
	}
	fmt.Fprintf(r.out, "%s, seed %d, %s\n", result, r.seed, time.Since(r.began).Round(time.Second))
}

func (r *run) reasons(title string, counts map[reason]int) {
	if len(counts) == 0 {
		return
	}
	fmt.Fprintln(r.out, title)
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(r.out, "  %5d %s\n", counts[why], why)
	}
}

func (r *run) findings(title string, list []string) {
	if len(list) == 0 {
		return
	}
	shown := list
	if len(list) > most && !r.options.verbose {
		shown = list[:most]
	}
	fmt.Fprintf(r.out, "%s (%d)\n  %s\n", title, len(list), strings.Join(shown, "\n  "))
}
