package stream

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// itemMemory is how long the server knows the items of a producer: by itself with the script,
	// by default with XADD IDMP.
	itemMemory = 100 * time.Second
	// itemWindow is how many items of a producer ID XADD IDMP knows by default.
	itemWindow = 100
	// leastIDMP is the first version whose XADD IDMP is used: 8.6.2.
	leastIDMP = 0x080602
)

// Producer is one sender of a stream. It numbers what it sends, so that the server can tell a copy
// from a new entry. It has one pipeline under way at a time.
type Producer struct {
	id     string
	key    string        // of its state on the server, for the script
	window time.Duration // of deduplication keys
	last   int64         // number of the last item
	lanes  []any         // producer IDs of XADD IDMP, one for each itemWindow items of a pipeline
	asked  bool          // the server told whether it has IDMP
	idmp   bool          // XADD IDMP can be used
	spent  bool          // a copy of an item may still be on its way
	source bool          // the server has to be sent the script's source
}

// NewProducer returns a Producer whose state is in a key with the given prefix, in the stream's slot.
// Deduplication keys belong to their first message for the window.
func NewProducer(prefix string, window time.Duration) *Producer {
	id := rand.Text()[:13] // 65 bits
	return &Producer{id: id, key: prefix + id, window: window}
}

// Spent reports whether a copy of an item may still be on its way. Then the producer must not be
// used again: the server forgets its items when it sees enough others.
func (p *Producer) Spent() bool { return p.spent }

// item is what the server knows a request by, and what is known of its attempts.
type item struct {
	producer  *Producer
	number    int64
	lane      int
	scripted  bool // sent by the script, not by XADD IDMP
	written   bool // in some attempt
	uncertain bool // an attempt may have had its effect
	answered  bool // the last attempt told what became of all attempts
	ended     bool // it is given up
	duplicate bool // another message has its deduplication key
}

// number makes the requests of a pipeline items, if they are none yet. All are sent in the same way.
func (p *Producer) number(requests []*AddRequest, confirmed bool) {
	if requests[0].item != nil {
		return
	}
	scripted := !p.idmp || confirmed || slices.ContainsFunc(requests, func(request *AddRequest) bool {
		return request.Later != nil || request.DeduplicationKey != ""
	})
	items := make([]item, len(requests))
	for i, request := range requests {
		p.last++
		items[i] = item{producer: p, number: p.last, lane: i / itemWindow, scripted: scripted}
		request.item = &items[i]
	}
}

// Reset makes a request that certainly had no effect one that was never sent.
func (a *AddRequest) Reset() { a.item, a.Err = nil, nil }

// renew makes the request a new item: what became of the old one is known.
func (a *AddRequest) renew(scripted bool) {
	p := a.item.producer
	p.last++
	*a.item = item{producer: p, number: p.last, lane: a.item.lane, scripted: scripted}
}

// producerID returns the ID for XADD IDMP.
func (i *item) producerID() any {
	p := i.producer
	for n := len(p.lanes); n <= i.lane; n++ {
		id := p.id
		if n > 0 {
			id += "." + strconv.Itoa(n)
		}
		p.lanes = append(p.lanes, id)
	}
	return p.lanes[i.lane]
}

// observe keeps what an attempt told about the item, and adjusts the error of the request to what
// is known of all attempts.
func (i *item) observe(request *AddRequest) {
	i.written = i.written || request.written
	switch {
	case request.Err == nil, errors.Is(request.Err, ErrNotReplicated):
		i.uncertain = false
	case i.answered && !redis.IsReadOnlyError(request.Err): // a replica may not have it yet
		i.uncertain = false
	case i.uncertain:
		request.Err = uncertainError{request.Err}
	case !IsNotApplied(request.Err):
		i.uncertain, i.producer.spent = true, true
	}
}

// Open reports whether a request with an item has to be sent again: nobody knows what became of
// it, or its pipeline broke before.
func (a *AddRequest) Open() bool {
	switch {
	case a.item == nil:
		return true
	case a.item.ended, a.Err == nil, errors.Is(a.Err, ErrNotReplicated), errors.Is(a.Err, redis.ErrClosed):
		return false
	case a.item.uncertain:
		return !a.lacksIDMP()
	}
	_, refused := errors.AsType[redis.Error](a.Err)
	return !refused || IsRedirection(a.Err)
}

// Written reports whether some attempt wrote at least the start of the request.
func (a *AddRequest) Written() bool { return a.item != nil && a.item.written }

// Duplicate reports whether the request is not added, because another one has its
// DeduplicationKey.
func (a *AddRequest) Duplicate() bool { return a.item != nil && a.item.duplicate }

// GiveUp ends an open request that is not sent again. What is known of it stays: it is uncertain, or
// certainly not added. A cause is put in front of the error that the request has; nil: there is
// none.
func (a *AddRequest) GiveUp(cause error) {
	if a.item == nil { // never sent
		a.Err = cutError{cause}
		return
	}
	a.item.ended = true
	if cause == nil {
		return
	}
	if !errors.Is(a.Err, errWithdrawn) {
		cause = fmt.Errorf("%w, while trying again after: %w", cause, a.Err)
	}
	if a.item.uncertain {
		a.Err = uncertainError{cause}
	} else {
		a.Err = cutError{cause}
	}
}

// lacksIDMP reports whether the server refused the request because it does not know XADD IDMP.
func (a *AddRequest) lacksIDMP() bool {
	if a.item == nil || a.item.scripted {
		return false
	}
	return redis.HasErrorPrefix(a.Err, "Invalid stream ID") || redis.HasErrorPrefix(a.Err, "syntax error") ||
		redis.HasErrorPrefix(a.Err, "wrong number of arguments")
}
