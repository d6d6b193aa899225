package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// Source is where a subscription reads new entries: stream.Group or stream.Fanout.
type Source interface {
	Read(ctx context.Context, limit stream.Limit, block time.Duration) ([]stream.Entry, error)
	// Transfer is how long the bytes of the last reply were under way.
	Transfer() time.Duration
	Reset(ctx context.Context)
	Interrupt()
	Close()
}

// Progress tells how far a group has come: stream.Group.
type Progress interface {
	Status(ctx context.Context) (stream.Status, error)
	Extent(ctx context.Context) (stream.Extent, error)
}

// Group is the pending list behind a source: stream.Group.
type Group interface {
	Progress
	Pending(ctx context.Context, page stream.Page) ([]redis.XPendingExt, error)
	Claim(ctx context.Context, claim stream.Claim) (stream.Claimed, error)
	Hold(ctx context.Context, leases []stream.Lease) (lost, trimmed []string, err error)
	Ack(ctx context.Context, ids []string) error
}
