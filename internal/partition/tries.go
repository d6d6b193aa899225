package partition

import (
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/outage"
)

// tries are the partitions that a member wants and does not own.
type tries struct {
	wanted  map[int]*wanted
	running int
	failing int // of the wanted: the last try failed
	results chan try
	trouble outage.Outage // as long as any of them fails
}

// wanted is a partition that a member wants.
type wanted struct {
	at      time.Time // of the next try
	running bool
	failing bool // the last try failed
	dropped bool // not wanted any more, while the try is running
}

// try is the result of one try.
type try struct {
	partition int
	wait      time.Duration
	err       error
}

func newTries(config Config) tries {
	return tries{
		wanted: map[int]*wanted{}, results: make(chan try, maxTries),
		trouble: outage.Outage{
			What: "acquiring partitions", Logger: config.Logger, Longest: longestPause, Jitter: config.jitter,
		},
	}
}

// want replaces what is wanted, starts the tries that are due, in this order, and returns when the
// next one is due.
func (t *tries) want(now time.Time, partitions []int, start func(partition int)) (next time.Time) {
	next = now.Add(time.Hour)
	for p, w := range t.wanted {
		if slices.Contains(partitions, p) {
			continue
		}
		if w.dropped = true; !w.running {
			t.drop(p)
		}
	}
	for _, p := range partitions {
		w := t.wanted[p]
		if w == nil {
			w = &wanted{at: now}
			t.wanted[p] = w
		}
		w.dropped = false
		switch {
		case w.running:
		case now.Before(w.at):
			if w.at.Before(next) {
				next = w.at
			}
		case t.running < maxTries: // else a result wakes the loop
			t.running++
			w.running = true
			start(p)
		}
	}
	return next
}

// answered notes the result of a try.
func (t *tries) answered(now time.Time, result try) {
	t.running--
	w := t.wanted[result.partition]
	w.running = false
	t.setFailing(w, result.err != nil)
	switch {
	case result.err != nil:
		w.at = now.Add(t.trouble.FailedWith(result.err, watermill.LogFields{"partition": result.partition}))
	case result.wait > 0:
		w.at = now.Add(result.wait + retryAfter)
	default:
		w.dropped = true
	}
	if w.dropped {
		t.drop(result.partition)
	}
}

// drop forgets a partition that is not wanted any more.
func (t *tries) drop(partition int) {
	t.setFailing(t.wanted[partition], false)
	delete(t.wanted, partition)
}

// setFailing notes whether the last try for a partition failed. Partitions on a server that is down
// fail while others are acquired: the trouble is over when none fails.
func (t *tries) setFailing(w *wanted, failing bool) {
	if w.failing == failing {
		return
	}
	if w.failing = failing; failing {
		t.failing++
		return
	}
	if t.failing--; t.failing == 0 {
		t.trouble.Over()
	}
}

// none reports whether no try is running.
func (t *tries) none() bool { return t.running == 0 }
