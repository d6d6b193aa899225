package redisstream

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
)

var (
	errWentBack = errors.New("the stream lost its end, or began anew")
	errMissed   = errors.New("the entries are not in the stream any more")
)

// fanout makes the stream ready to be read without a group.
func (s *Subscriber) fanout(ctx context.Context, topic string, logger watermill.LoggerAdapter) (*stream.Fanout, error) {
	fanout, err := stream.NewFanout(ctx, s.config.Client, topic, s.config.StartID)
	if err != nil {
		return nil, err
	}
	fanout.WentBack = func(from, to string) {
		logger.Error("entries that were read are not in the stream any more; reading goes on at an earlier ID", errWentBack,
			watermill.LogFields{"from": from, "to": to})
	}
	fanout.Missed = func(n int64) {
		logger.Error("entries were trimmed from the stream before the subscription read them", errMissed, watermill.LogFields{"count": n})
	}
	return fanout, fanout.CheckRights(ctx)
}
