package admin

import (
	"context"
	"iter"
	"time"

	"github.com/millrace/redisstream"
)

// DeadLetter is a dead letter of a topic, decoded.
type DeadLetter struct {
	redisstream.DeadLetter

	Message Message // of its entry
}

// Outcome is what an action did, or, in a dry run, would do.
type Outcome struct {
	IDs    []string // what it was done to
	DryRun bool     // nothing was changed
}

// DeadLetters iterates over the dead letters of a topic, the oldest first, as redisstream.DeadLetters
// does.
func (a *Admin) DeadLetters(ctx context.Context, topic string) iter.Seq2[DeadLetter, error] {
	panic("to do")
}

// ReplayDeadLetters moves the dead letters for which choose returns true back into the topic: all
// groups get them (redisstream.ReplayDeadLettersFunc).
func (a *Admin) ReplayDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	panic("to do")
}

// RetryDeadLetters gives the dead letters for which choose returns true back to the group that gave
// them up (redisstream.RetryDeadLettersFunc).
func (a *Admin) RetryDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	panic("to do")
}

// DropDeadLetters deletes the dead letters for which choose returns true.
func (a *Admin) DropDeadLetters(ctx context.Context, topic string, choose func(DeadLetter) bool, dryRun bool) (Outcome, error) {
	panic("to do")
}

// Delayed is a message that is not due yet, decoded.
type Delayed struct {
	ID      string // its ID among the delayed messages of the topic
	Due     time.Time
	Message Message // its ID is empty
}

// Delayed iterates over the delayed messages of a topic, as redisstream.DelayedMessages does.
func (a *Admin) Delayed(ctx context.Context, topic string) iter.Seq2[Delayed, error] { panic("to do") }

// DropDelayed deletes the delayed messages for which choose returns true.
func (a *Admin) DropDelayed(ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool) (Outcome, error) {
	panic("to do")
}

// DeliverDelayed moves the delayed messages for which choose returns true to the topic now.
func (a *Admin) DeliverDelayed(ctx context.Context, topic string, choose func(Delayed) bool, dryRun bool) (Outcome, error) {
	panic("to do")
}

// Parked is a message in the retry queue of a group.
type Parked struct {
	Message    Message
	Due        time.Time // when it may be taken; while a consumer has it: when its lease ends
	Consumer   string    // who has it; empty: nobody
	Deliveries int64
}

// Parked iterates over the messages in the retry queue of a group, in the order in which they are due, in
// pages of 100.
func (a *Admin) Parked(ctx context.Context, topic, group string) iter.Seq2[Parked, error] {
	panic("to do")
}
