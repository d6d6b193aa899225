package redisstream

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Calls that are under way at the same time share the link to the server, and all of them have to
// arrive within the client's time-outs. So a flow bounds their bytes, by what the link has carried
// before.
const (
	// firstFlow takes a third of a second at 1.5 MB/s. It is for defaultReplyTimeout; with a
	// shorter time-out the first bound is smaller in proportion.
	firstFlow = 512 << 10
	leastFlow = 128 << 10
	mostFlow  = 32 << 20
	// defaultReplyTimeout is go-redis's default. A pipeline that takes longer than the shortest by
	// more than 1/slowPart of the time-out halves the bound. One that takes longer by less than
	// 1/quickPart raises it.
	defaultReplyTimeout = 5 * time.Second
	quickPart           = 50
	slowPart            = 10
	// After deadFlow failures in a row the waiting calls fail, too: the server is gone, or hangs.
	deadFlow = 2
)

// flow bounds how many bytes of calls are queued or under way. It is guarded by the mutex of its
// publishQueues.
type flow struct {
	timeout  time.Duration // the client's, for a reply
	limit    int           // bytes; 0: none yet
	most     int           // calls; 0: no bound
	bytes    int           // admitted
	calls    int           // admitted
	waiting  []*admission
	failures int // in a row
}

// admission is a call that waits until the flow admits it.
type admission struct {
	size   int
	result chan error // it gets nil when the call is admitted, or why it never will be
}

// enter admits a call and returns nil, or returns the admission that the call has to wait for.
func (f *flow) enter(size int) *admission {
	if f.admit(size) {
		return nil
	}
	waiter := &admission{size: size, result: make(chan error, 1)}
	f.waiting = append(f.waiting, waiter)
	return waiter
}

// admit admits a call if it need not wait.
func (f *flow) admit(size int) bool {
	if len(f.waiting) > 0 || !f.fits(size) {
		return false
	}
	f.bytes += size
	f.calls++
	return true
}

// forget removes a call that no longer waits.
func (f *flow) forget(waiter *admission) {
	if i := slices.Index(f.waiting, waiter); i >= 0 {
		f.waiting = slices.Delete(f.waiting, i, i+1)
	}
	f.next()
}

// fits reports whether a call may be under way together with those that are admitted. One alone
// always may, whatever its size.
func (f *flow) fits(size int) bool {
	if f.limit == 0 {
		f.limit = max(int(firstFlow*min(f.timeout, defaultReplyTimeout)/defaultReplyTimeout), leastFlow)
	}
	return f.calls == 0 || f.bytes+size <= f.limit && (f.most == 0 || f.calls < f.most)
}

// leave ends calls that were admitted, and admits waiting ones.
func (f *flow) leave(calls, bytes int) {
	f.calls -= calls
	f.bytes -= bytes
	f.next()
}

// next admits the waiting calls that fit, in their order.
func (f *flow) next() {
	for len(f.waiting) > 0 && f.fits(f.waiting[0].size) {
		f.bytes += f.waiting[0].size
		f.calls++
		f.waiting[0].result <- nil
		f.waiting = f.waiting[1:]
	}
}

// answered adjusts the bound after a pipeline that the server answered. excess is the time beyond
// the shortest round trip.
func (f *flow) answered(bytes int, excess time.Duration) {
	f.failures = 0
	switch {
	case excess > f.timeout/slowPart:
		f.limit = max(f.limit/2, leastFlow)
	case excess < f.timeout/quickPart && len(f.waiting) > 0:
		f.limit = min(f.limit+bytes, mostFlow)
	}
}

// unanswered lowers the bound after a pipeline that the server did not answer.
func (f *flow) unanswered(why error) {
	f.limit = max(f.limit/2, leastFlow)
	f.failures++
	if f.failures < deadFlow {
		return
	}
	for _, waiter := range f.waiting {
		waiter.result <- why
	}
	f.waiting = nil
}

// replyTimeout returns how long the client waits for a reply.
func replyTimeout(client redis.UniversalClient) time.Duration {
	var read, write time.Duration
	switch client := client.(type) {
	case interface{ Options() *redis.Options }:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	case interface{ Options() *redis.ClusterOptions }:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	case interface{ Options() *redis.RingOptions }:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	}
	reply := defaultReplyTimeout
	for _, timeout := range []time.Duration{read, write} {
		if timeout > 0 {
			reply = min(reply, timeout)
		}
	}
	return reply
}
