package subscription

import (
	"context"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Source is where a subscription reads new entries: stream.Group or stream.Fanout.
type Source interface {
	Read(ctx context.Context, limit stream.Limit, block time.Duration) ([]stream.Entry, error)
	// Transfer is how long the bytes of the last reply were under way.
	TransferTime() time.Duration
	Reset(ctx context.Context)
	Interrupt()
	Close()
}

// Progress tells how far a group has come: stream.Group.
type Progress interface {
	GroupInfo(ctx context.Context) (stream.GroupInfo, error)
	Info(ctx context.Context) (stream.Info, error)
}

// Group is the pending list behind a source: stream.Group.
type Group interface {
	Progress
	Pending(ctx context.Context, page stream.Page) ([]stream.PendingEntry, error)
	Claim(ctx context.Context, claim stream.Claim) (stream.Claimed, error)
	RenewLeases(ctx context.Context, leases []stream.Lease) (lost, trimmed []string, err error)
	Ack(ctx context.Context, ids []string) error
}
