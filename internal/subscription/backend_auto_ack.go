package subscription

import (
	"context"

	"github.com/millrace/redisstream/internal/stream"
)

// AutoAckGroup is the Backend of a consumer group whose entries count as acknowledged when the
// server hands them out (XREADGROUP NOACK). Each is delivered at most once.
type AutoAckGroup struct {
	Membership
}

// autoAckGroup is the AutoAckGroup of a running subscription.
type autoAckGroup struct {
	member
	unacknowledged
}

func (a AutoAckGroup) attach(s *Subscription) backend {
	return &autoAckGroup{member: newMember(s, a.Membership, a.afterDelivered), unacknowledged: newUnacknowledged(s)}
}

// afterDelivered returns where the group continues after it vanished: after the last entry that was
// handed out.
func (AutoAckGroup) afterDelivered(_ context.Context, info stream.GroupInfo) (id string, known bool, err error) {
	return info.LastDelivered, true, nil
}

func (a *autoAckGroup) next(ctx context.Context, room room) ([]stream.Entry, error) {
	if err := a.pause.check(ctx); err != nil {
		return nil, err
	}
	if a.checkpoint.untilDue() <= 0 {
		if err := a.keepPosition(ctx); err != nil {
			return nil, err
		}
	}
	if room.entries == 0 || a.pause.paused {
		return nil, nil
	}
	entries, err := a.read(ctx, room, min(a.blockTime, a.checkpoint.untilDue()))
	if len(entries) > 0 {
		a.checkpoint.advance(entries[len(entries)-1].ID)
	}
	return entries, err
}

// keepPosition saves the checkpoint. A group that is behind its checkpoint was recreated by a
// member with an older one. It is set forward first, so that nothing is delivered twice.
func (a *autoAckGroup) keepPosition(ctx context.Context) error {
	a.checkpoint.postpone()
	info, err := a.checkpoint.groupInfo(ctx)
	if err == nil && stream.Precedes(info.LastDelivered, a.checkpoint.saved.ID) {
		if err = a.checkpoint.recreate(ctx); err == nil {
			info, err = a.checkpoint.groupInfo(ctx)
		}
	}
	if err != nil {
		return err
	}
	a.checkpoint.fetchLater(info)
	return a.checkpoint.save(ctx, info)
}

// handBack does nothing: entries that were read count as acknowledged. They are delivered after the
// pause.
func (*autoAckGroup) handBack(context.Context) error { return nil }

func (a *autoAckGroup) watchPause(ctx context.Context) error { return a.keepPosition(ctx) }

func (*autoAckGroup) resume() {}

// release only removes the consumer: nothing is pending for it.
func (a *autoAckGroup) release(ctx context.Context) {
	a.releaseEntries(ctx, stream.Release{TakeBack: true})
}
