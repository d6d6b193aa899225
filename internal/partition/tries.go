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
	results chan try
	trouble outage.Outage
}

// wanted is a partition that a member wants.
type wanted struct {
	at      time.Time // of the next try
	running bool
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
			delete(t.wanted, p)
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
	switch {
	case result.err != nil:
		w.at = now.Add(t.trouble.FailedWith(result.err, watermill.LogFields{"partition": result.partition}))
	case result.wait > 0:
		t.trouble.Over()
		w.at = now.Add(result.wait + retryAfter)
	default:
		t.trouble.Over()
		w.dropped = true
	}
	if w.dropped {
		delete(t.wanted, result.partition)
	}
}

// none reports whether no try is running.
func (t *tries) none() bool { return t.running == 0 }
