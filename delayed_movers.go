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
		mover = newMover(m.client, topic, m.logger)
		if m.byTopic == nil {
			m.byTopic = make(map[string]*delayed.Mover)
		}
		m.byTopic[topic] = mover
	}
	mover.Arm(wait)
}

// close ends the movers. What they would have moved is moved by others.
func (m *movers) close() {
	m.mu.Lock()
	m.closed = true
	all := m.byTopic
	m.byTopic = nil
	m.mu.Unlock()
	for _, mover := range all {
		mover.Close()
	}
}

// newMover returns the Mover of a topic.
func newMover(client redis.UniversalClient, topic string, logger watermill.LoggerAdapter) *delayed.Mover {
	messages := stream.NewDelayed(client, DelayedKey(topic), topic)
	fields := watermill.LogFields{"topic": topic}
	return &delayed.Mover{
		Move: func(ctx context.Context) (time.Duration, error) {
			moved, err := messages.Move(ctx)
			if moved.Unreadable > 0 {
				logger.Error("the set of delayed messages has members that are none; they are put off by a day", errUnreadable,
					fields.Add(watermill.LogFields{"key": DelayedKey(topic), "count": moved.Unreadable}))
			}
			return moved.Wait, err
		},
		Failed: func(err error) bool {
			if lacksRight(err) {
				logger.Info("delayed messages are moved by others: the user lacks a right for that",
					fields.Add(watermill.LogFields{"error": stream.Redact(err).Error()}))
				return false
			}
			logger.Error("delayed messages could not be moved; it is tried again", stream.Redact(err), fields)
			return true
		},
	}
}

var errUnreadable = errors.New("not written by a Publisher")

// lacksRight reports whether the user may not run the script, or a command in it.
func lacksRight(err error) bool {
	return redis.IsPermissionError(err) || strings.Contains(err.Error(), "ACL failure in script")
}
