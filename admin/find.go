package admin

import (
	"context"
	"iter"
)

// Place is where a message is.
type Place string

// The places of a message.
const (
	InTopic       Place = "topic"
	InDelayed     Place = "delayed"      // it is not due yet
	InRetryQueue  Place = "retry queue"  // of Handling.Group
	InDeadLetters Place = "dead letters" // of Handling.Group
)

// Found is a message with the UUID that was searched for.
type Found struct {
	Message

	Place  Place
	Groups []Handling // what each group did with it; of a delayed message: none
}

// Handling is what a group did with a message.
type Handling struct {
	Group      string
	Status     Status
	Entry      *PendingEntry // if it is pending
	DeadLetter string        // the ID of its dead letter
	Reason     string        // of the dead letter
}

// Status is how far a group is with a message.
type Status string

// The statuses of a message in a group.
const (
	// StatusHandled: it was delivered and is not pending: it was acknowledged or skipped. It is
	// also that of what was added before a group that began later (StartID "$").
	StatusHandled      Status = "handled"
	StatusPending      Status = "pending"       // a consumer has it
	StatusUnread       Status = "not delivered" // no consumer has got it yet
	StatusParked       Status = "parked"        // it waits in the retry queue of the group
	StatusDeadLettered Status = "dead letter"
)

// Find iterates over the messages of a topic with a UUID: in the range of the topic, among the delayed
// messages, in the retry queues and among the dead letters. It reads them all, in pages: give a Range
// where the topic is large.
func (a *Admin) Find(ctx context.Context, topic, uuid string, r Range) iter.Seq2[Found, error] {
	panic("to do")
}
