package redisstream

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/delayed"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// movers move delayed messages to their topics when they are due. There is one Mover for each topic
// that has had any.
type movers struct {
	client redis.UniversalClient
	logger watermill.LoggerAdapter

	mu      sync.Mutex
	closed  bool
	byTopic map[string]*delayed.Mover
}

// arm makes sure that what is due in topic after the given time is moved.
func (m *movers) arm(topic string, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	mover := m.byTopic[topic]
	if mover == nil {
		mover = newMover(m.client, topic, m.logger, func() { m.idle(topic) })
		if m.byTopic == nil {
			m.byTopic = make(map[string]*delayed.Mover)
		}
		m.byTopic[topic] = mover
	}
	mover.Arm(wait)
}

// idle forgets the mover of a topic that has no delayed messages, if there are many. It is called by
// the mover.
func (m *movers) idle(topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mover := m.byTopic[topic]; len(m.byTopic) > maxIdleQueues && mover != nil && !mover.Armed() {
		delete(m.byTopic, topic)
	}
}

// close ends the movers. What they would have moved is moved by others.
func (m *movers) close() {
	m.mu.Lock()
	m.closed = true
	all := m.byTopic
	m.byTopic = nil
	m.mu.Unlock()
	var closing sync.WaitGroup // at the same time: a server that hangs costs its time-out once
	for _, mover := range all {
		closing.Go(mover.Close)
	}
	closing.Wait()
}

// newMover returns the Mover of a topic. It calls idle when no delayed messages are left.
func newMover(client redis.UniversalClient, topic string, logger watermill.LoggerAdapter, idle func()) *delayed.Mover {
	m := &topicMover{
		messages: delayedOf(client, topic), key: DelayedKey(topic),
		logger: logger.With(watermill.LogFields{"topic": topic}), idle: idle,
	}
	return &delayed.Mover{Move: m.move, Failed: m.failed}
}

// topicMover moves the delayed messages of a topic. One goroutine at a time uses it.
type topicMover struct {
	messages *stream.Delayed
	key      string
	logger   watermill.LoggerAdapter
	failing  bool
	idle     func() // called when no delayed messages are left
}

func (m *topicMover) move(ctx context.Context) (time.Duration, error) {
	moved, err := m.messages.Move(ctx)
	if err != nil {
		return 0, err
	}
	if m.failing {
		m.failing = false
		m.logger.Info("delayed messages are moved again", nil)
	}
	if moved.Unreadable > 0 {
		m.logger.Error("the set of delayed messages has members that are none; they are put off by a day", errUnreadable,
			watermill.LogFields{"key": m.key, "count": moved.Unreadable})
	}
	if moved.Wait < 0 {
		m.idle()
	}
	return moved.Wait, nil
}

// failed logs the first of several failures in a row. It reports whether to try again.
func (m *topicMover) failed(err error) bool {
	if lacksRight(err) {
		m.logger.Info("delayed messages are moved by others: the user lacks a right for that",
			watermill.LogFields{"error": stream.Redact(err).Error()})
		return false
	}
	if !m.failing {
		m.failing = true
		m.logger.Error("delayed messages could not be moved; it is tried again", stream.Redact(err), nil)
	}
	return true
}

var errUnreadable = errors.New("not written by a Publisher")

// lacksRight reports whether the user may not run the script, or a command in it.
func lacksRight(err error) bool {
	return redis.IsPermissionError(err) || strings.Contains(err.Error(), "ACL failure in script")
}
