package stream

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Pipeline is the state of one pipeline of Add: it waits for a connection, is on the wire, or was
// withdrawn before. The zero value waits.
type Pipeline struct {
	// Producer makes the requests items of its own: each can be sent again, and is added once. nil:
	// none.
	Producer *Producer
	// NotAfter is the latest time at which the pipeline may be written; zero: none.
	NotAfter time.Time

	state atomic.Int32
}

const (
	waits int32 = iota
	onWire
	withdrawn
)

// errWithdrawn is the reason why nothing was sent.
var errWithdrawn = errors.New("withdrawn before it was sent")

// errLate is the reason why a copy was not sent.
var errLate = errors.New("too late to be sent again: the server may have forgotten the first copy")

// late reports whether NotAfter is over. The monotonic clock stands still while a machine sleeps, and
// the wall clock may be set back.
func (s *Pipeline) late() bool {
	if s.NotAfter.IsZero() {
		return false
	}
	now := time.Now()
	return now.After(s.NotAfter) || now.Round(0).After(s.NotAfter.Round(0))
}

// begin reports whether the pipeline may be written.
func (s *Pipeline) begin() bool {
	return s.state.CompareAndSwap(waits, onWire) || s.state.Load() == onWire
}

// Withdraw stops the pipeline, and reports whether it is stopped: then no byte of it is ever sent.
func (s *Pipeline) Withdraw() bool {
	return s.state.CompareAndSwap(waits, withdrawn) || s.Withdrawn()
}

// Withdrawn reports whether Withdraw stopped the pipeline.
func (s *Pipeline) Withdrawn() bool { return s.state.Load() == withdrawn }

// newID is the argument of XADD that requests a new ID. go-redis calls MarshalBinary when it writes
// the command: after the connection is open and has introduced itself, and before the first byte of
// a field. So it is known how far a command got, whatever error comes from dialling, TLS,
// authentication or the hooks of the client.
type newID AddRequest

var anyID = []byte("*")

// MarshalBinary is what go-redis writes.
func (id *newID) MarshalBinary() ([]byte, error) {
	if !id.pipeline.begin() {
		return nil, errWithdrawn
	}
	if id.pipeline.late() {
		return nil, errLate
	}
	id.written = true
	// A cluster client sends the command again when its slot has moved. It keeps the error of the
	// first attempt if the second gets no reply. Then the entry may be in the stream.
	id.last.SetErr(nil)
	return anyID, nil
}

// String is what hooks of the client see.
func (*newID) String() string { return string(anyID) }

// unsentError is the error of a command of which nothing was written.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// cutError is the error of a command that was not written completely: a server ignores it.
type cutError struct{ error }

func (e cutError) Unwrap() error { return e.error }

// uncertainError is the error of a command after an earlier attempt that may have had its effect.
type uncertainError struct{ error }

func (e uncertainError) Unwrap() error { return e.error }

// brokeOff reports whether an error interrupted the writing of a pipeline.
func brokeOff(err error) bool {
	network, failed := errors.AsType[*net.OpError](err)
	return failed && network.Op == "write"
}

// tail is the last argument of the command that follows the requests of a pipeline. It knows
// whether it was written.
type tail struct {
	text    string
	written bool
}

func (t *tail) of(number int64) *tail {
	t.text = strconv.FormatInt(number, 10)
	return t
}

// MarshalBinary is what go-redis writes.
func (t *tail) MarshalBinary() ([]byte, error) {
	t.written = true
	return []byte(t.text), nil
}

// String is what hooks of the client see.
func (t *tail) String() string { return t.text }

// settle sets the result of each request from its command and the error of the pipeline. If the
// writing was interrupted, the last command that was begun is incomplete, and those behind it were
// not begun.
func settle(requests []*AddRequest, commands []once, err error, behind *tail) {
	last := behind == nil || !behind.written
	for i, request := range slices.Backward(requests) {
		// When the connection breaks, go-redis also sets the error of commands that have a reply.
		if request.ID = commands[i].Val(); request.ID != "" {
			request.Err, last = nil, false
			continue
		}
		request.Err = request.reached(request.explained(firstOf(commands[i].Err(), err, errNoReply)), last)
		last = last && !request.written
	}
}

// reached adds to an error how far the request got, unless the server refused it. last tells that
// nothing behind the request was begun.
func (a *AddRequest) reached(err error, last bool) error {
	_, refused := errors.AsType[redis.Error](err)
	switch {
	case refused:
		return err
	case !a.written:
		return unsentError{err}
	case last && brokeOff(err):
		return cutError{err}
	default:
		return err
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

var errNoReply = errors.New("no reply")
