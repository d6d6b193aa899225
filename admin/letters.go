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
	return DeadLetter{DeadLetter: letter, Message: a.decodeFields(id, letter.Fields, sizeOf(letter.Fields))}
}

// ReplayDeadLetters moves the dead letters for which choose returns true back into the topic: all
// groups get them (redisstream.ReplayDeadLettersFunc). One that another process moves at the same
// time is moved once, and both may return its ID.
func (a *Admin) ReplayDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	return a.onLetters(ctx, topic, choose, dryRun, redisstream.ReplayDeadLettersFunc)
}

// RetryDeadLetters gives the dead letters for which choose returns true back to the group that gave
// them up (redisstream.RetryDeadLettersFunc).
func (a *Admin) RetryDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	return a.onLetters(ctx, topic, choose, dryRun, redisstream.RetryDeadLettersFunc)
}

// DropDeadLetters deletes the dead letters for which choose returns true
// (redisstream.DropDeadLettersFunc).
func (a *Admin) DropDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	return a.onLetters(ctx, topic, choose, dryRun, redisstream.DropDeadLettersFunc)
}

// onChosen acts on what a function of the root package chooses.
type onChosen[T any] func(ctx context.Context, client redis.UniversalClient, topic string, choose func(T) bool) (int, error)

func (a *Admin) onLetters(
	ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool, act onChosen[redisstream.DeadLetter],
) (Outcome, error) {
	if dryRun {
		return dryRunOf(a.DeadLetters(ctx, topic), choose, func(l DeadLetter) string { return l.ID })
	}
	var ids []string
	n, err := act(ctx, a.client, topic, func(letter redisstream.DeadLetter) bool {
		return choose(a.decodeLetter(letter)) && note(&ids, letter.ID)
	})
	return outcomeOf(ids, n, err)
}

// note appends an ID to those that were chosen.
func note(ids *[]string, id string) bool {
	*ids = append(*ids, id)
	return true
}

// outcomeOf returns what was done to n of the chosen ones. After an error that is all but the last.
func outcomeOf(chosen []string, n int, err error) (Outcome, error) {
	if err != nil {
		chosen = chosen[:min(n, len(chosen))]
	}
	return Outcome{IDs: chosen}, err
}

// dryRunOf returns the IDs of what choose accepts.
func dryRunOf[T any](all iter.Seq2[T, error], choose func(T) bool, id func(T) string) (Outcome, error) {
	outcome := Outcome{DryRun: true}
	for one, err := range all {
		if err != nil {
			return Outcome{DryRun: true}, err
		}
		if choose(one) {
			outcome.IDs = append(outcome.IDs, id(one))
		}
	}
	return outcome, nil
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
	return Delayed{ID: msg.ID, Due: msg.Due, Message: a.decodeFields("", msg.Fields, sizeOf(msg.Fields))}
}

// DropDelayed deletes the delayed messages for which choose returns true
// (redisstream.DropDelayedMessages).
func (a *Admin) DropDelayed(ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool) (Outcome, error) {
	return a.onDelayed(ctx, topic, choose, dryRun, redisstream.DropDelayedMessages)
}

// DeliverDelayed moves the delayed messages for which choose returns true to the topic now
// (redisstream.DeliverDelayedMessages).
func (a *Admin) DeliverDelayed(ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool) (Outcome, error) {
	return a.onDelayed(ctx, topic, choose, dryRun, redisstream.DeliverDelayedMessages)
}

func (a *Admin) onDelayed(
	ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool, act onChosen[redisstream.DelayedMessage],
) (Outcome, error) {
	if dryRun {
		return dryRunOf(a.Delayed(ctx, topic), choose, func(d Delayed) string { return d.ID })
	}
	var ids []string
	n, err := act(ctx, a.client, topic, func(msg redisstream.DelayedMessage) bool {
		return choose(a.decodeDelayed(msg)) && note(&ids, msg.ID)
	})
	return outcomeOf(ids, n, err)
}
