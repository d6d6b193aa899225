package admin

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// DeadLetter is a dead letter of a topic, decoded.
type DeadLetter struct {
	redisstream.DeadLetter

	Message Message // of its entry; its ID is EntryID
}

// Outcome is what an action did, or, in a dry run, would do.
type Outcome struct {
	IDs    []string // what it was done to. With an error: what was done before it
	DryRun bool     // nothing was changed
}

// DeadLetters iterates over the dead letters of a topic, the oldest first, as redisstream.DeadLetters
// does.
func (a *Admin) DeadLetters(ctx context.Context, topic string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for letter, err := range redisstream.DeadLetters(ctx, a.client, topic) {
			if err != nil {
				yield(DeadLetter{}, err)
				return
			}
			if !yield(a.decodeLetter(letter), nil) {
				return
			}
		}
	}
}

func (a *Admin) decodeLetter(letter redisstream.DeadLetter) DeadLetter {
	id := cmp.Or(letter.EntryID, letter.ID)
	return DeadLetter{DeadLetter: letter, Message: a.decodeFields(letter.Stream, id, letter.Fields, sizeOf(letter.Fields))}
}

// ReplayDeadLetters moves the dead letters for which choose returns true back into the topic: all
// groups get them (redisstream.ReplayDeadLettersByID). The outcome has no dead letter that another
// process moved or dropped first.
func (a *Admin) ReplayDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	return a.onLetters(ctx, topic, choose, dryRun, redisstream.ReplayDeadLettersByID)
}

// RetryDeadLetters gives the dead letters for which choose returns true back to the group that
// dead-lettered them (redisstream.RetryDeadLettersByID).
func (a *Admin) RetryDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	return a.onLetters(ctx, topic, choose, dryRun, redisstream.RetryDeadLettersByID)
}

// DropDeadLetters deletes the dead letters for which choose returns true
// (redisstream.DropDeadLettersByID).
func (a *Admin) DropDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	return a.onLetters(ctx, topic, choose, dryRun, redisstream.DropDeadLettersByID)
}

// onIDs is a function of the root package that acts on dead letters, and returns on how many it did.
type onIDs func(ctx context.Context, client redis.UniversalClient, topic string, ids ...string) (int, error)

func (a *Admin) onLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool, act onIDs) (Outcome, error) {
	outcome := Outcome{DryRun: dryRun}
	names, err := a.streams(ctx, topic)
	if err != nil {
		return outcome, err
	}
	for _, name := range names { // an ID alone may be that of letters in several partitions
		if err := a.onLettersIn(ctx, name, choose, &outcome, act); err != nil {
			return outcome, err
		}
	}
	return outcome, nil
}

func (a *Admin) onLettersIn(ctx context.Context, topic string, choose func(DeadLetter) bool, outcome *Outcome, act onIDs) error {
	if !outcome.DryRun {
		if _, err := act(ctx, a.client, topic); err != nil { // the rights are missing
			return err
		}
	}
	for letter, err := range a.DeadLetters(ctx, topic) {
		if err != nil {
			return err
		}
		if !choose(letter) {
			continue
		}
		done := 1
		if !outcome.DryRun {
			if done, err = act(ctx, a.client, topic, letter.ID); err != nil {
				return err
			}
		}
		if done == 1 {
			outcome.IDs = append(outcome.IDs, letter.ID)
		}
	}
	return nil
}

// Delayed is a message that is not due yet, decoded.
type Delayed struct {
	ID      string // its ID among the delayed messages of the topic
	Due     time.Time
	Message Message // its ID is empty
}

// Delayed iterates over the delayed messages of a topic, as redisstream.DelayedMessages does.
func (a *Admin) Delayed(ctx context.Context, topic string) iter.Seq2[Delayed, error] {
	return func(yield func(Delayed, error) bool) {
		for msg, err := range redisstream.DelayedMessages(ctx, a.client, topic) {
			if err != nil {
				yield(Delayed{}, err)
				return
			}
			if !yield(a.decodeDelayed(msg), nil) {
				return
			}
		}
	}
}

func (a *Admin) decodeDelayed(msg redisstream.DelayedMessage) Delayed {
	return Delayed{ID: msg.ID, Due: msg.Due, Message: a.decodeFields(msg.Stream, "", msg.Fields, sizeOf(msg.Fields))}
}

// DropDelayed deletes the delayed messages for which choose returns true
// (redisstream.DropDelayedMessages). The outcome may have a message that was moved before it could
// be dropped.
func (a *Admin) DropDelayed(ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool) (Outcome, error) {
	return a.onDelayed(ctx, topic, choose, dryRun, redisstream.DropDelayedMessages)
}

// DeliverDelayed moves the delayed messages for which choose returns true to the topic now
// (redisstream.DeliverDelayedMessages). The outcome may have a message that another process moved
// or dropped first.
func (a *Admin) DeliverDelayed(ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool) (Outcome, error) {
	return a.onDelayed(ctx, topic, choose, dryRun, redisstream.DeliverDelayedMessages)
}

// onChosen is a function of the root package that acts on the delayed messages that choose accepts.
type onChosen func(ctx context.Context, client redis.UniversalClient, topic string, choose func(redisstream.DelayedMessage) bool) (int, error)

func (a *Admin) onDelayed(ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool, act onChosen) (Outcome, error) {
	outcome := Outcome{DryRun: dryRun}
	if dryRun {
		for msg, err := range a.Delayed(ctx, topic) {
			if err != nil {
				return outcome, err
			}
			if choose(msg) {
				outcome.IDs = append(outcome.IDs, msg.ID)
			}
		}
		return outcome, nil
	}
	n, err := act(ctx, a.client, topic, func(msg redisstream.DelayedMessage) bool {
		chosen := choose(a.decodeDelayed(msg))
		if chosen {
			outcome.IDs = append(outcome.IDs, msg.ID)
		}
		return chosen
	})
	if err != nil { // it acted on all but the last
		outcome.IDs = outcome.IDs[:min(n, len(outcome.IDs))]
	}
	return outcome, err
}
