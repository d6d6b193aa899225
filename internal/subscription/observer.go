package subscription

import (
	"errors"
	"time"
)

// Observer is told what happens in a subscription. No lock is held during a call, and none panics.
// The interface of that name in the package redisstream documents when each method is called.
type Observer interface {
	Delivered(id string, deliveries int64, at time.Time)
	Handled(took time.Duration, nacked bool)
	Acked(entries int)
	TakenOver(entries, released int)
	LeasesLost(entries int)
	DeadLettered(reason string)
	Parked(entries int)
	TrimmedUnread(entries int64)
	ReadAhead(entries, bytes int)
	Closed(took time.Duration, complete bool)
}

// The kinds of reasons for dead letters, as Observer.DeadLettered gets them.
const (
	ReasonOverLimit   = "over_limit"
	ReasonRejected    = "rejected"
	ReasonUndecodable = "undecodable"
	ReasonGivenUp     = "given_up"
)

// kindOf returns the kind of the reason of a dead letter.
func kindOf(reason error) string {
	if _, over := errors.AsType[overLimitError](reason); over {
		return ReasonOverLimit
	}
	switch {
	case errors.Is(reason, errRejected):
		return ReasonRejected
	case errors.Is(reason, errGivenUp):
		return ReasonGivenUp
	default:
		return ReasonUndecodable
	}
}
