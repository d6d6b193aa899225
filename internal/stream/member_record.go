package stream

import "time"

// MemberRecord is what a consumer of a group says of itself, in the hash of the group's members. It is stored
// as the server's time in milliseconds, a space, and JSON.
type MemberRecord struct {
	Host     string        `json:"host"`
	PID      int           `json:"pid"`
	Started  time.Time     `json:"started"`
	Every    time.Duration `json:"every"` // how often it is written; silence for longer than 3 times that is a sign of death
	Lease    time.Duration `json:"lease"` // ClaimMinIdle
	Workers  int           `json:"workers"`
	Limit    int           `json:"limit,omitempty"` // MaxDeliveries
	AutoAck  bool          `json:"auto_ack,omitempty"`
	Paused   bool          `json:"paused,omitempty"` // by Subscriber.Pause
	InFlight int           `json:"in_flight,omitempty"`
	Ahead    int           `json:"ahead,omitempty"`    // entries that wait for a worker
	Held     []HeldEntry   `json:"held,omitempty"`     // what handlers have had for longest, the oldest first
	Failing  []HeldEntry   `json:"failing,omitempty"`  // nacked entries that wait for a redelivery
	Blocking bool          `json:"blocking,omitempty"` // strict order: the first of Held or Failing blocks all others

	Reported time.Time `json:"-"` // by the server's clock
}

// HeldEntry is an entry that a handler has, or one that waits for a redelivery.
type HeldEntry struct {
	ID         string        `json:"id"`
	For        time.Duration `json:"for"` // at the time of the report: with its handler; or since the first nack
	Deliveries int64         `json:"deliveries"`
}

// PauseRecord says who paused a group. It is stored as JSON.
type PauseRecord struct {
	Since  time.Time `json:"since"` // by the server's clock
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}
