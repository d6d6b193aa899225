package adminui

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/redisstream/admin"
)

const (
	sampledTopics = 20               // at most
	sampledFor    = 15 * time.Minute // after someone looked
	keptPoints    = 181              // snapshots: 15 minutes at the default interval
)

// sampler measures the topics that people look at. Its goroutine runs while there are some.
type sampler struct {
	interval time.Duration // negative: it measures nothing
	snapshot func(ctx context.Context, limit int, topics ...string) (admin.Snapshot, error)
	ctx      context.Context //nolint:containedctx // it ends the goroutine
	cancel   context.CancelFunc

	mu      sync.Mutex
	topics  map[string]*sampled
	running bool
	closed  bool
	done    sync.WaitGroup
}

// sampled is a topic that someone looked at.
type sampled struct {
	history *admin.History
	looked  time.Time
}

func newSampler(interval time.Duration, snapshot func(context.Context, int, ...string) (admin.Snapshot, error)) *sampler {
	ctx, cancel := context.WithCancel(context.Background())
	return &sampler{interval: interval, snapshot: snapshot, ctx: ctx, cancel: cancel, topics: make(map[string]*sampled)}
}

// points returns the points of a group, and has its topic measured from now on.
func (s *sampler) points(topic, group string) []admin.Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.interval < 0 {
		return nil
	}
	known, found := s.topics[topic]
	if !found {
		s.makeRoom()
		known = &sampled{history: admin.NewHistory(keptPoints)}
		s.topics[topic] = known
	}
	known.looked = time.Now()
	if !s.running {
		s.running = true
		s.done.Go(s.run)
	}
	return known.history.Points(topic, group)
}

// makeRoom removes the topic that was not viewed for longest, if there are too many.
func (s *sampler) makeRoom() {
	if len(s.topics) < sampledTopics {
		return
	}
	oldest := ""
	for topic, known := range s.topics {
		if oldest == "" || known.looked.Before(s.topics[oldest].looked) {
			oldest = topic
		}
	}
	delete(s.topics, oldest)
}

// run measures until no topic was viewed for a while.
func (s *sampler) run() {
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		topics := s.due()
		if topics == nil {
			return
		}
		for topic, history := range topics {
			s.measure(topic, history)
		}
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
		}
	}
}

// due returns the topics that are measured now. nil: the goroutine ends.
func (s *sampler) due() map[string]*admin.History {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := make(map[string]*admin.History, len(s.topics))
	for topic, known := range s.topics {
		if time.Since(known.looked) > sampledFor {
			delete(s.topics, topic)
		} else {
			due[topic] = known.history
		}
	}
	if s.closed || len(due) == 0 {
		s.running = false
		return nil
	}
	return due
}

// measure adds a snapshot. A failure leaves a gap in the chart; the page itself shows the error.
func (s *sampler) measure(topic string, history *admin.History) {
	ctx, cancel := context.WithTimeout(s.ctx, max(s.interval, time.Second))
	defer cancel()
	if snapshot, err := s.snapshot(ctx, 1, topic); err == nil {
		history.Add(snapshot)
	}
}

func (s *sampler) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.done.Wait()
}
