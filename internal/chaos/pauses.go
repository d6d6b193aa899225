package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/millrace/redisstream"
)

// groupPause is a pause of a whole group.
type groupPause struct {
	span // since when the server certainly has it, and until it was about to be ended

	around span // from the first try to begin it until the server had its end
}

// pauseGroup pauses a group, in all processes. It retries until the server has the pause or its time
// is over. It waits for the end of an earlier pause: both have the same key, so that one, delayed by a
// server that is down, would end this one.
func (r *run) pauseGroup(ctx context.Context, f fault) (resume func()) {
	name := r.groups[f.target].Name
	key := redisstream.PauseKey(r.topic, name)
	var p groupPause
	in, cancel := context.WithTimeout(ctx, f.lasts)
	defer cancel()
	turn := r.pauseTurn(name)
	select {
	case turn <- struct{}{}:
	case <-in.Done():
		return func() {}
	}
	p.around.from = time.Now().UnixNano()
	if r.insist(in, func() error { return r.client.Set(in, key, "{}", 0).Err() }) {
		p.from = time.Now().UnixNano()
	}
	return func() {
		defer func() { <-turn }()
		if p.to = time.Now().UnixNano(); p.from == 0 {
			p.from = p.to // nothing is certain of it
		}
		r.insist(ctx, func() error { return r.client.Del(ctx, key).Err() })
		p.around.to = time.Now().UnixNano()
		r.note(func() { r.paused[name] = append(r.paused[name], p) })
	}
}

// pauseTurn returns what the pause of a group fills while it lasts.
func (r *run) pauseTurn(group string) (turn chan struct{}) {
	r.note(func() {
		if turn = r.pausing[group]; turn == nil {
			turn = make(chan struct{}, 1)
			r.pausing[group] = turn
		}
	})
	return turn
}

// insist retries until an action succeeds or ctx ends. It reports whether the action succeeded.
func (*run) insist(ctx context.Context, action func() error) bool {
	for {
		if err := action(); err == nil {
			return true
		}
		if !wait(ctx, 20*time.Millisecond) {
			return false
		}
	}
}

// The commands that a worker process reads from its standard input, each with the number of a
// subscription.
const (
	pauseCommand  = "pause"
	resumeCommand = "resume"
)

// pauseSubscription pauses one subscription of a worker.
func (r *run) pauseSubscription(f fault) (resume func()) {
	w, number := r.workers[f.target], f.group
	w.command(pauseCommand, number)
	return func() { w.command(resumeCommand, number) }
}

// command sends a command to the process, if there is one.
func (w *worker) command(what string, number int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != nil {
		_, _ = fmt.Fprintln(w.current.lifeline, what, number) // the process may have ended
	}
}

// controls are the Subscribers of a worker process, by number.
type controls struct {
	mu          sync.Mutex
	subscribers map[int]*redisstream.Subscriber
}

func (c *controls) add(number int, s *redisstream.Subscriber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subscribers[number] = s
}

// obey follows the commands on the standard input. Its end ends the process.
func (c *controls) obey(j *journal) {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var what string
		var number int
		if _, err := fmt.Fscan(strings.NewReader(lines.Text()), &what, &number); err != nil {
			panic(err)
		}
		c.mu.Lock()
		s := c.subscribers[number]
		c.mu.Unlock()
		switch {
		case s == nil: // not yet
		case what == pauseCommand:
			j.write(pausing, number)
			s.Pause()
			j.write(paused, number)
		default:
			j.write(resuming, number)
			s.Resume()
		}
	}
	os.Exit(1)
}
