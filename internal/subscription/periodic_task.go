package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/backoff"
)

// periodicTask is work that a subscription does for its stream at intervals.
type periodicTask struct {
	what  string // for the log: "trimming the stream"
	every time.Duration
	run   func(context.Context) error
}

// repeat runs a task until ctx ends. The jitter keeps the members of a group apart.
func (s *Subscription) repeat(ctx context.Context, task periodicTask) {
	trouble := outage{what: task.what, logger: s.Logger}
	for sleep(ctx, backoff.Jitter(task.every, 0.25)) {
		err := task.run(ctx)
		switch {
		case hasEnded(ctx):
			return
		case err != nil:
			trouble.failed(err) // it is tried again at the next interval
		default:
			trouble.over()
		}
	}
}

// tasks returns the periodic tasks of a group.
func (m *member) tasks() (tasks []periodicTask) {
	if m.ConsumerTimeout > 0 {
		tasks = append(tasks, periodicTask{"removing consumers that are gone", m.ConsumerTimeout / 2, m.removeConsumers})
	}
	if m.TrimInterval > 0 {
		tasks = append(tasks, periodicTask{"trimming the stream", m.TrimInterval, m.trim})
	}
	return tasks
}

func (m *member) removeConsumers(ctx context.Context) error {
	removed, err := m.Stream.RemoveIdle(ctx, m.Removable, m.ConsumerTimeout)
	if len(removed) > 0 {
		m.logger.Info("consumers whose process is gone were removed from the group",
			watermill.LogFields{countField: len(removed), "consumers": removed})
	}
	return err
}

func (m *member) trim(ctx context.Context) error {
	_, err := m.Stream.Trim(ctx, m.TrimMinAge, m.TrimMinLen)
	return err
}
