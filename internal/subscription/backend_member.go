package subscription

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
)

// Membership is what both backends with a consumer group need.
type Membership struct {
	Stream   GroupStream
	Consumer string
	StartID  string // where the group begins if it has no checkpoint yet

	ClaimMinIdle  time.Duration // how long a lease lasts
	ClaimInterval time.Duration // how often to search for idle entries, and to save the checkpoint

	Delayed Delayed

	RemoveAtEnd     bool          // remove the consumer when the subscription ends and owns nothing
	Removable       []string      // Lua patterns of the names of consumers that may be removed
	ConsumerTimeout time.Duration // they are removed when idle for this time; 0: never

	TrimInterval time.Duration // 0: the stream is not trimmed
	TrimMinAge   time.Duration
	TrimMinLen   int64

	CanBePaused bool // the group may be paused: it is looked for
	ReadsShort  bool // no read blocks beyond the next look for a pause

	// Record is what the member record has of the configuration; nil: there is no record.
	Record *stream.MemberRecord
}

// member is one consumer of a group. Both backends with a group embed it.
type member struct {
	Membership
	*memberReports

	logger     watermill.LoggerAdapter
	checkpoint *checkpoint
	retries    *retryQueue
	pause      *pauseWatch
	blockTime  time.Duration
}

func newMember(s *Subscription, m Membership, position position) member {
	retries, pause := newRetryQueue(s, m), newPauseWatch(s, m)
	reports := &memberReports{record: m.Record, write: m.Stream.Report, trouble: outage.Outage{What: "writing the member record", Logger: s.Logger}}
	return member{
		Membership: m, memberReports: reports, logger: s.Logger, checkpoint: newCheckpoint(s, m, position, retries, pause),
		retries: retries, pause: pause, blockTime: s.BlockTime,
	}
}

func (m *member) transferTime() time.Duration { return m.Stream.TransferTime() }
func (m *member) untilCheckpoint() time.Duration {
	return min(m.checkpoint.untilDue(), m.pause.untilDue())
}
func (m *member) untilLook() time.Duration { return m.untilCheckpoint() }
func (m *member) interrupt()               { m.Stream.Interrupt() }

func (m *member) close() {
	m.Stream.Close()
	m.Delayed.Close()
}

// read waits for new entries, at most for block. The server tells at the end of a long wait whether
// the group is paused, so a pause holds for the entries that end it. While entries are held, the
// wait is over at the next look: a pause releases them.
func (m *member) read(ctx context.Context, room room, block time.Duration) ([]stream.Entry, error) {
	untilLook := m.pause.untilDue()
	if block <= untilLook || !room.empty || m.ReadsShort {
		return m.Stream.Read(ctx, room.limit(), min(block, untilLook))
	}
	entries, paused, err := m.Stream.ReadAndLook(ctx, room.limit(), block)
	if err == nil {
		m.pause.saw(paused)
	}
	return entries, err
}

// recover recreates the group if it vanished, and drops the connection.
func (m *member) recover(ctx context.Context, err error) error {
	if stream.IsGroupGone(err) {
		if failure := m.checkpoint.recreate(ctx); failure != nil {
			err = fmt.Errorf("%w; creating the consumer group again failed: %w", err, failure)
		}
	}
	m.Stream.Reset(ctx)
	return err
}

// releaseEntries releases pending entries and logs failures.
func (m *member) releaseEntries(ctx context.Context, release stream.Release) {
	release.Remove, release.Leaves = m.RemoveAtEnd, true
	if err := m.sendRelease(ctx, release); err != nil {
		m.logger.Error("entries could not be released; others claim them after ClaimMinIdle", err, nil)
	}
}

// sendRelease releases pending entries, and logs which of them were trimmed.
func (m *member) sendRelease(ctx context.Context, release stream.Release) error {
	trimmed, err := m.Stream.Release(ctx, release)
	if len(trimmed) > 0 {
		m.logger.Error("entries were trimmed from the stream before they were acknowledged", errTrimmed, someOf(trimmed))
	}
	if ownsNothing(err) {
		return nil
	}
	return err
}

// ownsNothing reports whether an error says that this consumer has no pending entries: the group is
// gone, or another consumer is the active one.
func ownsNothing(err error) bool {
	return stream.IsGroupGone(err) || errors.Is(err, stream.ErrNotOwner)
}
