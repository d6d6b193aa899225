package stream

import (
	"sync/atomic"
	"time"
)

// spot is one reader's part of a watch.
type spot struct {
	key  string
	wake chan struct{} // it is to read now

	watch   atomic.Pointer[watch] // nil: none so far
	state   spotState
	refused time.Time // when the server refused to watch
}

// spotState is what the server knows of a spot. The lock of the watch guards it.
type spotState int

const (
	spotOff   spotState = iota // nothing
	spotAsked                  // it was asked, or will be when there is a connection
	spotArmed                  // it will tell the next change
)

func newSpot(key string) *spot { return &spot{key: key, wake: make(chan struct{}, 1)} }

func (s *spot) forgetWake() {
	select {
	case <-s.wake:
	default:
	}
}

func (s *spot) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// watchedBy makes a watch wake the reader when it has begun, and at the next change of the stream. It
// reports whether it has begun already.
func (s *spot) watchedBy(w *watch) bool {
	if s.watch.Load() != w {
		s.leave()
		s.watch.Store(w)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.state == spotOff && time.Since(s.refused) >= unwatched && !w.closed {
		s.state = spotAsked
		w.spots[s.key] = append(w.spots[s.key], s)
		if w.conn != nil {
			w.send(s)
		}
	}
	if s.state == spotAsked {
		w.open()
	}
	return s.state == spotArmed
}

// begins is watchedBy, and reports whether the watch is about to begin and will wake the reader.
func (s *spot) begins(w *watch) bool {
	w.mu.Lock()
	ready := w.conn != nil
	w.mu.Unlock()
	return ready && !s.watchedBy(w) && s.isAsked(w)
}

func (s *spot) isAsked(w *watch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.state == spotAsked
}

// leave ends the watch for this reader.
func (s *spot) leave() {
	w := s.watch.Load()
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turnOff(s)
}
