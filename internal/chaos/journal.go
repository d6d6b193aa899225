package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kind is the kind of an event in a journal.
type kind byte

const (
	subscribed kind = 'S' // a subscription began, in the group of this name
	delivered  kind = 'D' // a message came to the handler
	acked      kind = 'A' // the handler is about to ack
	nacked     kind = 'N' // the handler is about to nack
	cancelled  kind = 'X' // the message's context ended during the handler
	confirmed  kind = 'T' // the server has these acknowledgements
	notHeld    kind = 'H' // a Commit changed nothing: the consumer does not hold the entry
	lost       kind = 'L' // the library logged that it lost these entries while they were held
	failing    kind = 'F' // reading fails
	working    kind = 'W' // reading works again
	stoodStill kind = 'P' // the process did not run from this time until now
	dying      kind = 'K' // the process is about to kill itself
	closing    kind = 'C' // the process closes its subscribers
	closed     kind = 'E' // all are closed
	pausing    kind = 'U' // Subscriber.Pause is about to be called
	paused     kind = 'V' // Subscriber.Pause has returned
	resuming   kind = 'R' // Subscriber.Resume is about to be called
)

// event is one line of a journal, or one ID of a line that has several.
type event struct {
	kind       kind
	at         int64 // Unix time in ns
	sub        int   // which subscription of the process
	id         string
	deliveries int64
	text       string // D: the UUID; S: the group
	from       int64  // P
}

// journal is a file that a process appends to. Each event is one write, so that SIGKILL loses none.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &journal{file: file}, err
}

func (j *journal) write(k kind, sub int, fields ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := fmt.Appendf(nil, "%c %d %d", k, time.Now().UnixNano(), sub)
	for _, field := range fields {
		line = fmt.Append(append(line, ' '), field)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		panic(err) // without its journal the run can't be judged
	}
}

// journalReader reads journals. It keeps repeated strings once.
type journalReader struct{ kept map[string]string }

func (r *journalReader) keep(s string) string {
	if kept, ok := r.kept[s]; ok {
		return kept
	}
	if r.kept == nil {
		r.kept = map[string]string{}
	}
	s = strings.Clone(s)
	r.kept[s] = s
	return s
}

func (r *journalReader) readFile(path string) ([]event, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil // its process was killed before it opened the journal
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	events, err := r.read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return events, nil
}

func (r *journalReader) read(source io.Reader) ([]event, error) {
	var events []event
	lines := bufio.NewScanner(source)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		parsed, err := r.parse(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		events = append(events, parsed...)
	}
	return events, lines.Err()
}

func (r *journalReader) parse(line string) ([]event, error) {
	fields := strings.Fields(line)
	if len(fields) < 3 || len(fields[0]) != 1 {
		return nil, io.ErrUnexpectedEOF
	}
	e := event{kind: kind(fields[0][0])}
	var err error
	if e.at, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return nil, err
	}
	if e.sub, err = strconv.Atoi(fields[2]); err != nil {
		return nil, err
	}
	rest := fields[3:]
	switch e.kind {
	case subscribed:
		if len(rest) != 1 {
			return nil, io.ErrUnexpectedEOF
		}
		e.text = r.keep(rest[0])
	case delivered:
		if len(rest) != 3 {
			return nil, io.ErrUnexpectedEOF
		}
		e.id, e.text = r.keep(rest[0]), r.keep(rest[2])
		e.deliveries, err = strconv.ParseInt(rest[1], 10, 64)
	case stoodStill:
		if len(rest) != 1 {
			return nil, io.ErrUnexpectedEOF
		}
		e.from, err = strconv.ParseInt(rest[0], 10, 64)
	default:
		events := make([]event, 0, len(rest))
		for _, id := range rest {
			e.id = r.keep(id)
			events = append(events, e)
		}
		if len(rest) == 0 {
			events = append(events, e)
		}
		return events, nil
	}
	return []event{e}, err
}
