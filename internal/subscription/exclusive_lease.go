package subscription

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/redisstream/internal/outage"
	"github.com/millrace/redisstream/internal/stream"
)

// renewGrace is how long the end waits for a renewal that is under way.
const renewGrace = 50 * time.Millisecond

var errStreamLost = errors.New("it was not renewed in time, or another consumer owns the stream")

// streamLease keeps the ownership of a subscription. One goroutine uses it.
type streamLease struct {
	Ownership

	sub      *Subscription
	every    time.Duration // between renewals
	next     *time.Timer   // the next renewal
	renewals chan error
	underWay bool // a renewal
	trouble  outage.Outage
	lost     bool
	onLoss   func() // called when the ownership is lost, or may be lost
}

func newStreamLease(sub *Subscription, o Ownership, length time.Duration, onLoss func()) *streamLease {
	return &streamLease{
		Ownership: o, sub: sub, every: length / 3, next: time.NewTimer(length / 3), renewals: make(chan error, 1),
		trouble: outage.Outage{What: "renewing the lease of the stream", Logger: sub.Logger},
		onLoss:  onLoss,
	}
}

// hold renews the ownership until the subscription has ended. If the ownership is lost, or may be, it
// ends the subscription at once, and reports that.
func (l *streamLease) hold(ctx context.Context) (lost bool) {
	deadline := time.NewTimer(l.Left())
	defer deadline.Stop()
	defer l.next.Stop()
	for isOver := l.Over(); ; {
		select {
		case <-isOver:
			isOver = nil
			l.lose()
		case <-deadline.C:
			if left := l.Left(); left > 0 {
				deadline.Reset(left)
			} else {
				l.lose()
			}
		case <-l.next.C:
			l.underWay = true
			go func() { l.renewals <- l.Renew(ctx) }()
		case err := <-l.renewals:
			l.renewed(err)
		case <-l.sub.Ended().Done():
			l.join()
			return l.lost
		}
	}
}

// renewed sets when the next renewal is due.
func (l *streamLease) renewed(err error) {
	l.underWay = false
	switch {
	case err == nil:
		l.trouble.Over()
		l.next.Reset(l.every)
	case !l.lost && !errors.Is(err, stream.ErrNotOwner):
		l.next.Reset(l.trouble.Failed(err))
	}
}

func (l *streamLease) lose() {
	if l.lost {
		return
	}
	if !isClosed(l.sub.closing) {
		l.sub.Logger.Error("the lease of the stream is lost; another consumer may take its messages over", errStreamLost, nil)
	}
	l.lost = true
	l.sub.lose()
	l.onLoss()
}

// join waits for a renewal that is under way, but not for a server that hangs.
func (l *streamLease) join() {
	if !l.underWay {
		return
	}
	select {
	case err := <-l.renewals:
		l.renewed(err)
	case <-time.After(renewGrace):
	}
}
