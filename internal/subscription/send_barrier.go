package subscription

import "sync"

// sendBarrier counts the workers that send to the output, so that Close and a pause can wait for
// them.
type sendBarrier struct {
	mu      sync.Mutex
	none    sync.Cond // nobody sends
	closed  bool
	paused  bool
	pausing chan struct{} // closed while paused
	sending int
}

func newSendBarrier() *sendBarrier {
	b := &sendBarrier{pausing: make(chan struct{})}
	b.none.L = &b.mu
	return b
}

// enter admits a worker that is about to send, unless the barrier is closed or paused. The worker
// calls leave, at once when the channel is closed.
func (b *sendBarrier) enter() (pausing <-chan struct{}, admitted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.paused {
		return nil, false
	}
	b.sending++
	return b.pausing, true
}

func (b *sendBarrier) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sending--; b.sending == 0 {
		b.none.Broadcast()
	}
}

// close admits no more workers, and waits for those that are sending.
func (b *sendBarrier) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.await()
}

// pause admits no more workers until resume, and waits for those that are sending. One goroutine at
// a time calls pause and resume.
func (b *sendBarrier) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.paused {
		b.paused = true
		close(b.pausing)
	}
	b.await()
}

func (b *sendBarrier) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused {
		b.paused, b.pausing = false, make(chan struct{})
	}
}

func (b *sendBarrier) await() {
	for b.sending > 0 {
		b.none.Wait()
	}
}
