package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/outage"
)

// periodicTask is work that a subscription does for its stream at intervals.
type periodicTask struct {
	what  string // for the log: "trimming the stream"
	every time.Duration
	run   func(context.Context) error
}

// periodicTasks are the tasks of the subscription. The jitter keeps the members of a group apart.
func (s *Subscription) periodicTasks() (all repeaters) {
	for _, task := range s.backend.tasks() {
		trouble := outage.Outage{What: task.what, Logger: s.Logger}
		all = append(all, &repeater{every: task.every, jitter: 0.25, work: func(ctx context.Context) {
			err := task.run(ctx)
			switch {
			case hasEnded(ctx):
			case err != nil:
				trouble.Failed(err) // it is tried again at the next interval
			default:
				trouble.Over()
			}
		}})
	}
	return all
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
