package redistest

import (
	"sync"
	"sync/atomic"
	"time"
)

// slicesASecond bounds what a link with a bandwidth passes on at once: one slice has the bytes of
// 10 ms.
const slicesASecond = 100

// link is one direction of a proxy: its connections share the bandwidth.
type link struct {
	carried atomic.Int64
	rate    atomic.Int64 // bytes a second; 0: no limit

	mu   sync.Mutex
	free time.Time // when the admitted bytes have passed
}

// slice returns how many of n bytes pass next.
func (l *link) slice(n int) int {
	if rate := int(l.rate.Load()); rate > 0 {
		return min(n, max(1, rate/slicesASecond))
	}
	return n
}

// pass waits until n bytes have passed, or the connection has ended.
func (l *link) pass(n int, ended <-chan struct{}) {
	rate := l.rate.Load()
	if rate <= 0 {
		l.carried.Add(int64(n))
		return
	}
	l.mu.Lock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(n) * time.Second / time.Duration(rate))
	due := l.free
	l.mu.Unlock()
	pause(time.Until(due), ended)
	l.carried.Add(int64(n))
}

// pause waits for d, or until the channel closes.
func pause(d time.Duration, ended <-chan struct{}) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ended:
	}
}

// gate blocks its callers while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while it is open; closed when it opens
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// wait waits until the gate is open, or the channel closes.
func (g *gate) wait(ended <-chan struct{}) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return
	}
	select {
	case <-shut:
	case <-ended:
	}
}
