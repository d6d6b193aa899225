package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MemberRecord is what a consumer of a group reports, in the hash of the group's members. It is
// stored as the server's time in milliseconds, a space, and JSON.
type MemberRecord struct {
	Host     string        `json:"host"`
	PID      int           `json:"pid"`
	Started  time.Time     `json:"started"` // the subscription
	Every    time.Duration `json:"every"`   // how often it is written; silence for longer than 3 times that is a sign of death
	Lease    time.Duration `json:"lease"`   // ClaimMinIdle
	Workers  int           `json:"workers"`
	Limit    int           `json:"limit,omitempty"`     // MaxDeliveries
	AutoAck  bool          `json:"auto_ack,omitempty"`  //nolint:tagliatelle // the format is given
	Paused   bool          `json:"paused,omitempty"`    // by Subscriber.Pause
	InFlight int           `json:"in_flight,omitempty"` //nolint:tagliatelle // as above
	Ahead    int           `json:"ahead,omitempty"`     // entries that wait for a worker
	Held     []HeldEntry   `json:"held,omitempty"`      // what handlers have had for longest, the oldest first
	Failing  []HeldEntry   `json:"failing,omitempty"`   // nacked entries that wait for a redelivery
	Blocking bool          `json:"blocking,omitempty"`  // strict order: the first of Held or Failing blocks all others

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

// membersExpire is how long the hash of the members outlives the last record that was written to it.
const membersExpire = 24 * time.Hour

var errNoTime = errors.New("no time in front of the record")

// ParseMemberRecord parses a value of the hash of a group's members.
func ParseMemberRecord(value string) (record MemberRecord, err error) {
	reported, text, found := strings.Cut(value, " ")
	if !found {
		return record, fmt.Errorf("member record: %w", errNoTime)
	}
	ms, err := strconv.ParseInt(reported, 10, 64)
	if err != nil {
		return record, fmt.Errorf("member record: %w: %w", errNoTime, err)
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return MemberRecord{}, fmt.Errorf("member record: %w", err)
	}
	record.Reported = time.UnixMilli(ms)
	return record, nil
}

// ParsePauseRecord parses the value of the key that pauses a group.
func ParsePauseRecord(value string) (record PauseRecord, err error) {
	if err := json.Unmarshal([]byte(value), &record); err != nil {
		return PauseRecord{}, fmt.Errorf("pause record: %w", err)
	}
	return record, nil
}

// Report writes the record of this consumer, with the server's time (HSET). The consumer's field is
// deleted when it is released with Leaves, or removed.
func (g *Group) Report(ctx context.Context, record MemberRecord) error {
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("member record: %w", err)
	}
	return reportScript.Run(ctx, g.shared, []string{g.members}, g.consumer, text, membersExpire.Milliseconds()).Err()
}

// Reports reports whether the user may write member records. CheckRights finds it out.
func (g *Group) Reports() bool { return g.members != "" }

// withMembers returns the keys of a script that deletes the records of consumers that leave.
func (g *Group) withMembers() []string {
	if g.members == "" {
		return []string{g.key}
	}
	return []string{g.key, g.members}
}
