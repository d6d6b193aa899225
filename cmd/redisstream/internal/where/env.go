package where

import "time"

// Message has the names that a filter of messages may use.
type Message struct {
	ID       string            `expr:"id"`
	UUID     string            `expr:"uuid"`
	Payload  string            `expr:"payload"`
	JSON     any               `expr:"json"` // an empty map if the payload is no JSON
	Metadata map[string]string `expr:"metadata"`
	Time     time.Time         `expr:"time"`
	Age      time.Duration     `expr:"age"`
	Bytes    int               `expr:"bytes"`
}

// DeadLetter has the names that a filter of dead letters may use.
type DeadLetter struct {
	Message

	Reason     string `expr:"reason"`
	Error      string `expr:"error"`
	Group      string `expr:"group"`
	Consumer   string `expr:"consumer"`
	Deliveries int64  `expr:"deliveries"`
	EntryID    string `expr:"entry_id"`
}

// Delayed has the names that a filter of delayed messages may use.
type Delayed struct {
	Message

	Due time.Time     `expr:"due"`
	In  time.Duration `expr:"due_in"`
}

// Pending has the names that a filter of pending entries may use.
type Pending struct {
	ID         string        `expr:"id"`
	Consumer   string        `expr:"consumer"`
	Age        time.Duration `expr:"age"`
	Idle       time.Duration `expr:"idle"`
	Held       time.Duration `expr:"held"`
	Deliveries int64         `expr:"deliveries"`
}
