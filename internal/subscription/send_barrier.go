package subscription

import "sync"

// sendBarrier counts the workers that send to the output, so that Close can wait for them.
type sendBarrier struct {
	mu      sync.Mutex
	closed  bool
	sending sync.WaitGroup
}

// enter admits a worker that is about to send, unless the barrier is closed. The worker calls
// leave.
func (b *sendBarrier) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.sending.Add(1)
	return true
}

func (b *sendBarrier) leave() { b.sending.Done() }

// close admits no more workers, and waits for those that are sending.
func (b *sendBarrier) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.sending.Wait()
}
