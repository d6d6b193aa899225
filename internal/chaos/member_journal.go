package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// What a line in the journal of a member tells.
const (
	memberOwns   = "owns"   // a generation of a stream began
	memberBegins = "begins" // a handler got a message
	memberEnds   = "ends"   // it is about to settle the message, as Outcome tells
	memberStood  = "stood"  // the process did not run from From to At
)

// The outcomes of a handler.
const (
	outcomeAcked     = "acked"
	outcomeNacked    = "nacked"
	outcomeCommitted = "committed" // Commit returned nil
)

// memberEvent is a line in the journal of a member. Times are Unix ns.
type memberEvent struct {
	Kind       string
	At         int64
	From       int64
	Group      string
	Stream     string
	Generation int64
	Entry      string
	Key        string
	Number     int // of the message in its key, from 1
	Deliveries int64
	Outcome    string
}

// memberJournal is a file that a member appends to. Each event is one write, so that SIGKILL loses
// none.
type memberJournal struct {
	mu   sync.Mutex
	file *os.File
}

func openMemberJournal(path string) (*memberJournal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &memberJournal{file: file}, err
}

func (j *memberJournal) write(e memberEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.At = time.Now().UnixNano()
	if err := json.NewEncoder(j.file).Encode(e); err != nil {
		panic(err) // without its journal the run can't be judged
	}
}

func readMemberJournal(source io.Reader) (events []memberEvent, err error) {
	lines := bufio.NewScanner(source)
	for lines.Scan() {
		var e memberEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		events = append(events, e)
	}
	return events, lines.Err()
}
