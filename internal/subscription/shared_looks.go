package subscription

import (
	"time"

	"github.com/millrace/redisstream/internal/backoff"
	"github.com/millrace/redisstream/internal/stream"
)

// lookJitter is the part by which a member looks earlier than it would, at random. It keeps the
// members of a group apart.
const lookJitter = 0.25

// share sets how long this member waits for its next look at the group. The members of an idle
// group share the looks: each waits ClaimInterval times the number of consumers, so the group is
// looked at once in ClaimInterval. While something is pending or waits for a retry, each member
// looks in each ClaimInterval, because it may be the only one that can do something.
//
// A member looks at least twice in ClaimMinIdle. So it knows of an entry before its lease can end,
// and takes it over in time, even if all other members are gone.
func (c *checkpoint) share(info stream.GroupInfo) {
	every := c.ClaimInterval
	if !c.alone && info.Pending == 0 && info.Lag <= 0 && !info.Retries {
		every *= time.Duration(max(1, info.Consumers))
		every = max(c.ClaimInterval, min(every, c.ClaimMinIdle/2))
	}
	c.every = every
	c.postpone()
}

// shares reports whether other members look at the group while this one waits.
func (c *checkpoint) shares() bool { return c.every > c.ClaimInterval }

// postponeLook sets the time of the next scan.
func (r *recovery) postponeLook() {
	jitter := lookJitter
	if r.checkpoint.shares() && !r.sharing {
		jitter = 1 // members that began to wait at the same time go apart
	}
	r.sharing = r.checkpoint.shares()
	r.scanDue = time.Now().Add(backoff.Jitter(r.checkpoint.every, jitter))
}

// endSharing makes this member look in each ClaimInterval again: it got entries, so the group is not
// idle.
func (r *recovery) endSharing() {
	if !r.sharing {
		return
	}
	r.checkpoint.every = r.ClaimInterval
	r.checkpoint.postpone()
	if r.sharing = false; time.Until(r.scanDue) > r.ClaimInterval {
		r.postponeLook()
	}
}
