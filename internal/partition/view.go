package partition

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/outage"
)

// view is what a member knows of the record, and when it asks again.
type view struct {
	me      string
	n       int
	lease   time.Duration
	logger  watermill.LoggerAdapter
	trouble outage.Outage

	unread map[string]string // members whose records can't be read, and the errors that were logged

	version int64  // 0: nothing is known
	peers   []peer // in the order of their names
	said    string // what this member said of itself last; empty: it is not known whether it is there

	next      time.Time // the next call
	paused    bool      // after a failure: nothing is urgent
	isMoving  bool      // the last call saw a change: the next one is going to see another
	awaits    bool      // another member gives up what this one is to take
	beatAt    time.Time // the next renewal
	endsAt    time.Time // the next end of a lease, if its member does not renew it
	takeAt    time.Time // from then on partitions are taken
	giveAt    time.Time // from then on partitions are given up
	giveSince time.Time // the first change that giveAt waits for
}

func newView(config Config) view {
	return view{
		me: config.Name, n: config.Partitions, lease: config.Lease, logger: config.Logger,
		trouble: outage.Outage{
			What: "reading the members of the partitioned topic's group", Logger: config.Logger,
			Longest: longestPause, Jitter: config.jitter,
		},
	}
}

// needsBeat reports whether the next call has to be a beat. A look is cheaper for the server, but
// it tells only that something has changed.
func (v *view) needsBeat(now time.Time, text string) bool {
	return v.version == 0 || text != v.said || v.isMoving || !now.Before(v.beatAt) || !now.Before(v.endsAt)
}

// callAt returns when the next call is due.
func (v *view) callAt(kind callKind, text string) time.Time {
	switch {
	case v.paused:
		return v.next
	case kind == callLeave || text != v.said:
		return time.Time{}
	}
	at := v.next
	if v.awaits { // which is known after the look was scheduled
		at = at.Add(awaitEvery - lookEvery)
	}
	for _, other := range []time.Time{v.beatAt, v.endsAt} {
		if other.Before(at) {
			at = other
		}
	}
	return at
}

// with returns the members, with this one as it is now.
func (v *view) with(self peer) []peer {
	peers := append(make([]peer, 0, len(v.peers)+1), v.peers...)
	return put(peers, self)
}

// put adds a peer to others, or replaces it.
func put(peers []peer, p peer) []peer {
	at, found := slices.BinarySearchFunc(peers, p, byName)
	if found {
		peers[at] = p
		return peers
	}
	return slices.Insert(peers, at, p)
}

func byName(a, b peer) int { return strings.Compare(a.name, b.name) }

// looked takes over the version that a look returned.
func (v *view) looked(now time.Time, version int64) {
	v.works()
	v.next = now.Add(lookEvery)
	if version != v.version {
		v.isMoving = true
		v.next = now
	}
}

// apply takes over the reply to a beat.
func (v *view) apply(now time.Time, a answer) {
	v.works()
	before, logged := v.peers, v.unread
	v.peers, v.unread = nil, map[string]string{}
	if !a.reply.All {
		v.peers, v.unread = slices.Clone(before), maps.Clone(logged) // not nil: the first reply has all
	}
	v.isMoving = a.reply.All && v.version != 0
	for name, text := range a.reply.States {
		v.isMoving = v.isMoving || name != v.me
		v.peers = put(v.peers, v.parse(name, text, logged))
	}
	v.version, v.said = a.reply.Version, a.text
	v.next, v.beatAt = now.Add(lookEvery), a.sent.Add(v.lease/3)
	v.endsAt = now.Add(a.reply.Next + time.Millisecond + v.apart())
	v.takeAt = now.Add(settle - a.reply.Age)
	if haveSameActive(before, v.peers) {
		return
	}
	if !now.Before(v.giveAt) {
		v.giveSince = now
	}
	v.giveAt = now.Add(giveAfter)
	if latest := v.giveSince.Add(giveLatest); latest.Before(v.giveAt) {
		v.giveAt = latest
	}
}

// parse reads the record of a member. An error is logged once, however often the record is read.
func (v *view) parse(name, text string, logged map[string]string) peer {
	p, err := parsePeer(v.n, name, text)
	if err == nil {
		delete(v.unread, name)
		return p
	}
	if logged[name] != err.Error() {
		v.logger.Error("the record of a member can't be read; its partitions count as free", err, nil)
	}
	v.unread[name] = err.Error()
	return peer{name, false, newSet(v.n), newSet(v.n)}
}

// mayGive reports whether partitions may be given up to others. Without an answer of the server,
// what is known may be old.
func (v *view) mayGive(now time.Time) bool { return !v.paused && !now.Before(v.giveAt) }

// failed notes that a call failed. What is known goes on to hold.
func (v *view) failed(now time.Time, err error) {
	v.next, v.paused = now.Add(v.trouble.Failed(err)), true
	v.said = "" // the server may have done it, or not
}

func (v *view) works() {
	v.trouble.Over()
	v.paused = false
}

// haveSameActive reports whether the same members are in both lists and not leaving.
func haveSameActive(a, b []peer) bool {
	isLeaving := func(p peer) bool { return p.leaving }
	named := func(a, b peer) bool { return a.name == b.name }
	return slices.EqualFunc(slices.DeleteFunc(slices.Clone(a), isLeaving), slices.DeleteFunc(slices.Clone(b), isLeaving), named)
}

// apart returns a time below spread that differs between members.
func (v *view) apart() time.Duration {
	return time.Duration(int64(hashOf(v.me)) % int64(spread))
}
