package redisstream

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/backoff"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// Scheduler moves the delayed messages of topics that nobody subscribes to. Each Publisher moves
// what it scheduled as long as it lives, and each subscription moves those of its topic: only where
// there is neither, a Scheduler is needed. Any number may run.
type Scheduler struct {
	config SchedulerConfig
	logger watermill.LoggerAdapter
}

// SchedulerConfig is the configuration of a Scheduler.
type SchedulerConfig struct {
	// Client is the client of the server. Required. The Scheduler does not close it.
	Client redis.UniversalClient
	// Topics are the topics whose delayed messages it moves. It moves those of all partitions of a topic
	// that has some (GET). Required.
	Topics []string
	// Interval is how often it looks for delayed messages (EXISTS of each stream). It moves those that it knows
	// when they are due. So a message that another process schedules is late by at most Interval.
	// Defaults to DefaultClaimInterval.
	Interval time.Duration
}

// NewScheduler returns a Scheduler. A nil logger logs nothing. Errors wrap ErrInvalidConfig and name
// the field. No command is sent to the server yet.
func NewScheduler(config SchedulerConfig, logger watermill.LoggerAdapter) (*Scheduler, error) {
	if config.Interval == 0 {
		config.Interval = DefaultClaimInterval
	}
	switch {
	case config.Client == nil:
		return nil, invalid("SchedulerConfig.Client", errRequired)
	case len(config.Topics) == 0:
		return nil, invalid("SchedulerConfig.Topics", errRequired)
	case config.Interval < 0:
		return nil, invalid("SchedulerConfig.Interval", fmt.Errorf("%s is negative", config.Interval))
	}
	return &Scheduler{config: config, logger: redact(logger)}, nil
}

// Run moves delayed messages until ctx ends, and then returns nil. It logs failures and goes on.
func (s *Scheduler) Run(ctx context.Context) error {
	movers := movers{client: s.config.Client, logger: s.logger}
	defer movers.close()
	var all sync.WaitGroup
	for _, topic := range s.config.Topics {
		all.Go(func() { s.look(ctx, &movers, topic) })
	}
	all.Wait()
	return nil
}

// look arms the movers of a topic's streams whenever they have delayed messages.
func (s *Scheduler) look(ctx context.Context, movers *movers, topic string) {
	fields := watermill.LogFields{"topic": topic}
	names, failing := []string{topic}, false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var err error
		names, err = s.arm(ctx, movers, topic, names)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			s.logger.Error("looking for delayed messages failed; it is tried again", stream.Redact(err), fields)
		case err == nil && failing:
			s.logger.Info("looking for delayed messages works again", fields)
		}
		failing = err != nil
		timer.Reset(backoff.Jitter(s.config.Interval, 0.25))
	}
}

// arm arms the mover of each stream of a topic that has delayed messages, and returns the streams:
// names, if they can't be asked for now. A failure does not keep those on other servers from being
// moved.
func (s *Scheduler) arm(ctx context.Context, movers *movers, topic string, names []string) ([]string, error) {
	now, failure := stream.StreamsOf(ctx, s.config.Client, topic)
	if failure == nil {
		names = now
	}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = DelayedKey(name)
	}
	there, err := stream.AnyDelayed(ctx, s.config.Client, keys)
	for i, name := range names {
		if there[i] {
			movers.arm(name, 0)
		}
	}
	return names, cmp.Or(failure, err)
}
