package redisstream

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// What is under way at the same time shares the way to the server, and all of it has to arrive within the client's
// time-outs. So a flow bounds its bytes, by what the way has shown to carry.
const (
	// firstFlow is a third of a second at 1.5 MB/s. It is for usualPatience; who has less begins with less.
	firstFlow = 512 << 10
	leastFlow = 128 << 10
	mostFlow  = 32 << 20
	// usualPatience is how long go-redis waits for a reply by default. A pipeline that takes a slowPart of the client's patience longer
	// than the shortest makes the bound smaller, one that takes less than a quickPart makes it larger.
	usualPatience = 5 * time.Second
	quickPart     = 50
	slowPart      = 10
	// deadFlow is after how many failures in a row those that wait fail, too: the server is gone, or hangs.
	deadFlow = 2
)

// flow bounds how many bytes of calls are queued or under way. It is guarded by the mutex of its publishQueues.
type flow struct {
	patience time.Duration // the client's time-out
	limit    int           // bytes; 0: none yet
	most     int           // calls; 0: no bound
	bytes    int           // admitted
	calls    int           // admitted
	waiting  []*admission
	failures int // in a row
}

// admission is a call that waits for its turn.
type admission struct {
	size int
	turn chan error // it gets nil, or why there will be none
}

// enter admits a call, or returns what it has to wait for.
func (f *flow) enter(size int) *admission {
	if len(f.waiting) == 0 && f.fits(size) {
		f.bytes += size
		f.calls++
		return nil
	}
	waiter := &admission{size: size, turn: make(chan error, 1)}
	f.waiting = append(f.waiting, waiter)
	return waiter
}

// forget is the end of a wait.
func (f *flow) forget(waiter *admission) {
	if i := slices.Index(f.waiting, waiter); i >= 0 {
		f.waiting = slices.Delete(f.waiting, i, i+1)
	}
	f.next()
}

// fits reports whether a call may go beside those that were admitted. One always may, whatever its size.
func (f *flow) fits(size int) bool {
	if f.limit == 0 {
		f.limit = max(int(firstFlow*min(f.patience, usualPatience)/usualPatience), leastFlow)
	}
	return f.calls == 0 || f.bytes+size <= f.limit && (f.most == 0 || f.calls < f.most)
}

// leave is the end of calls that were admitted.
func (f *flow) leave(calls, bytes int) {
	f.calls -= calls
	f.bytes -= bytes
	f.next()
}

func (f *flow) next() {
	for len(f.waiting) > 0 && f.fits(f.waiting[0].size) {
		f.bytes += f.waiting[0].size
		f.calls++
		f.waiting[0].turn <- nil
		f.waiting = f.waiting[1:]
	}
}

// passed learns from a pipeline that the server answered, in so much more time than its shortest.
func (f *flow) passed(bytes int, excess time.Duration) {
	f.failures = 0
	switch {
	case excess > f.patience/slowPart:
		f.limit = max(f.limit/2, leastFlow)
	case excess < f.patience/quickPart && len(f.waiting) > 0:
		f.limit = min(f.limit+bytes, mostFlow)
	}
}

// failed learns from a pipeline that the server did not answer.
func (f *flow) failed(why error) {
	f.limit = max(f.limit/2, leastFlow)
	f.failures++
	if f.failures < deadFlow {
		return
	}
	for _, waiter := range f.waiting {
		waiter.turn <- why
	}
	f.waiting = nil
}

// patience returns how long the client waits for a reply.
func patience(client redis.UniversalClient) time.Duration {
	var read, write time.Duration
	switch client := client.(type) {
	case interface{ Options() *redis.Options }:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	case interface{ Options() *redis.ClusterOptions }:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	case interface{ Options() *redis.RingOptions }:
		read, write = client.Options().ReadTimeout, client.Options().WriteTimeout
	}
	patience := usualPatience
	for _, timeout := range []time.Duration{read, write} {
		if timeout > 0 {
			patience = min(patience, timeout)
		}
	}
	return patience
}
