package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// Skip is how entries are skipped.
type Skip struct {
	DeadLetter bool   // keep each as a dead letter
	Reason     string // of the dead letter; empty: "skipped"
	DryRun     bool
}

// Skip acknowledges entries for a group, so that they are not delivered again: pending ones (XACK)
// of any consumer, and ones in the group's retry queue. With DeadLetter each is also moved to the
// dead letters, in one step on the server (a script).
//
// A handler that works on one is not stopped, and its ack has no effect. A subscription that holds
// one for a redelivery delivers it once more at most, and goes on within half of its ClaimMinIdle,
// however long NackBackoff is. The outcome has the IDs that were skipped. The error wraps
// ErrInvalidID, ErrNoTopic or ErrNoGroup; or ErrNoEntry if the group has an entry neither pending
// nor in its retry queue: it has handled the entry, or no consumer has got it yet (Reset passes
// over those); or ErrAmbiguousID. In these cases the entries before it in the list are skipped.
func (a *Admin) Skip(ctx context.Context, topic, group string, ids []string, how Skip) (Outcome, error) {
	outcome := Outcome{DryRun: how.DryRun}
	err := a.onEach(ctx, topic, func(name string) error {
		_, err := a.checkGroup(ctx, name, group)
		return err
	})
	if err != nil {
		return outcome, fmt.Errorf("skip: %w", err)
	}
	for _, id := range ids {
		err := fmt.Errorf("entry %q: %w", id, ErrInvalidID)
		if stream.ValidID(id) {
			err = a.skipIn(ctx, topic, group, id, how)
		}
		if err != nil {
			return outcome, fmt.Errorf("skip: %w", groupError(topic, group, err))
		}
		outcome.IDs = append(outcome.IDs, id)
	}
	return outcome, nil
}

// skipIn skips an entry of the stream that has it.
func (a *Admin) skipIn(ctx context.Context, topic, group, id string, how Skip) error {
	name, err := a.holder(ctx, topic, id, func(name string) (bool, error) {
		_, err := a.repair(name, group).Holding(ctx, id)
		if errors.Is(err, stream.ErrNotHeld) {
			return false, nil
		}
		if err != nil {
			return false, groupError(name, group, err) // partitions without the group are passed over
		}
		return true, nil
	})
	switch {
	case err != nil:
		return err
	case name == "":
		return fmt.Errorf("entry %s: %w, or it is not pending in this group", id, ErrNoEntry)
	}
	return a.skip(ctx, a.repair(name, group), name, group, id, how)
}

// skipTries is how often the owner of an entry is looked up, if the entry moves to another consumer
// before it is skipped.
const skipTries = 10

var errMoves = errors.New("the entry moves from consumer to consumer; pause the group and try again")

func (a *Admin) skip(ctx context.Context, repair *stream.Repair, topic, group, id string, how Skip) error {
	at := time.Now().UTC().Format(time.RFC3339Nano)
	for tries := range skipTries {
		holding, err := repair.Holding(ctx, id)
		switch {
		case errors.Is(err, stream.ErrNotHeld) && tries > 0:
			return a.settled(ctx, topic, id, at, how)
		case errors.Is(err, stream.ErrNotHeld):
			return fmt.Errorf("entry %s: %w, or it is not pending in this group", id, ErrNoEntry)
		case err != nil || how.DryRun:
			return err
		}
		done, err := a.settle(ctx, repair, topic, group, id, holding, at, how)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("entry %s: %w", id, errMoves)
}

// settled returns the outcome for an entry that the group had before an attempt to skip it, and has
// no more. Either the reply to the attempt was lost, and the client repeated it; or a handler acked
// the entry first. The dead letter, if there is one, has the time of the attempt.
func (a *Admin) settled(ctx context.Context, topic, id, at string, how Skip) error {
	if !how.DeadLetter {
		return nil
	}
	newest := stream.Span{From: "+", To: "-", Reverse: true, Match: stream.Match{Text: at}}
	for letter, err := range stream.ReadEntries(ctx, a.client, redisstream.DeadLetterTopic(topic), newest) {
		if err != nil {
			return err
		}
		fields, _ := fieldsOf(letter)
		if fields[redisstream.DeadLetterIDKey] == id && fields[redisstream.DeadLetterTimeKey] == at {
			return nil
		}
	}
	return fmt.Errorf("entry %s was acknowledged meanwhile, so there is no dead letter of it: %w", id, ErrNoEntry)
}

// settle skips an entry, if it still has the holder.
func (a *Admin) settle(
	ctx context.Context, repair *stream.Repair, topic, group, id string, holding stream.Holding, at string, how Skip,
) (done bool, err error) {
	if !how.DeadLetter {
		return repair.Skip(ctx, id, holding)
	}
	fields := []any{
		redisstream.DeadLetterReasonKey, cmp.Or(how.Reason, "skipped"),
		redisstream.DeadLetterStreamKey, topic,
		redisstream.DeadLetterIDKey, id,
		redisstream.DeadLetterGroupKey, group,
		redisstream.DeadLetterConsumerKey, holding.Consumer,
		redisstream.DeadLetterDeliveriesKey, holding.Deliveries,
		redisstream.DeadLetterTimeKey, at,
	}
	result, err := repair.DeadLetter(ctx, id, holding, stream.DeadLetterTarget{Stream: redisstream.DeadLetterTopic(topic)}, fields)
	if result == stream.DeadLetterTrimmed && err == nil {
		return true, fmt.Errorf("entry %s was trimmed from the topic: it is skipped without a dead letter: %w", id, ErrNoEntry)
	}
	return result == stream.DeadLetterMoved, err
}
