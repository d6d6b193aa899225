package partition

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// recordModel does in memory what the script of the record does on a server.
type recordModel struct {
	now     func() int64 // ms
	version int64
	birth   int64
	base    int64
	members map[string]*modelMember
}

type modelMember struct {
	state   string
	lease   int64
	ends    int64
	changed int64
}

func newRecordModel(now func() int64) *recordModel {
	return &recordModel{now: now, members: map[string]*modelMember{}}
}

// flush loses the record.
func (r *recordModel) flush() { *r = *newRecordModel(r.now) }

func (r *recordModel) head() int64 { return r.version }

func (r *recordModel) beat(b stream.Beat) stream.BeatReply {
	now := r.now()
	following := max(r.version+1, now)
	r.removeDead(b, now, following)
	if len(r.members) == 0 {
		r.version, r.birth, r.base = following, now, following
		if b.State == "" {
			r.flush()
			return stream.BeatReply{All: true, States: map[string]string{}}
		}
	}
	if b.State != "" {
		r.write(b, now, following)
	}
	for _, m := range r.members {
		if m.ends > now+b.Lease.Milliseconds() {
			m.ends = min(m.ends, now+m.lease)
		}
	}
	r.birth = min(r.birth, now)
	return r.reply(b.Known, now)
}

// removeDead removes a member that leaves, and those whose leases are over.
func (r *recordModel) removeDead(b stream.Beat, now, following int64) {
	remove := func(name string) {
		if r.members[name] != nil {
			delete(r.members, name)
			r.version, r.base = following, following
		}
	}
	if b.State == "" {
		remove(b.Name)
	}
	var dead []string
	for name, m := range r.members {
		if m.ends <= now {
			dead = append(dead, name)
		}
	}
	if len(dead) == len(r.members) {
		clear(r.members)
		return
	}
	slices.SortFunc(dead, r.byEnd)
	for _, name := range dead[:min(len(dead), 100)] {
		remove(name)
	}
}

func (r *recordModel) write(b stream.Beat, now, following int64) {
	me := r.members[b.Name]
	if me == nil {
		me = &modelMember{}
		r.members[b.Name] = me
	}
	lease := b.Lease.Milliseconds()
	if me.state != b.State || me.lease != lease {
		me.state, me.lease, me.changed, r.version = b.State, lease, following, following
	}
	me.ends = now + lease
}

func (r *recordModel) reply(known, now int64) stream.BeatReply {
	reply := stream.BeatReply{
		Version: r.version, All: known < r.base || known > r.version,
		Age: time.Duration(now-r.birth) * time.Millisecond, States: map[string]string{},
	}
	first := int64(-1)
	for name, m := range r.members {
		if reply.All || m.changed > known {
			reply.States[name] = m.state
		}
		if first < 0 || m.ends < first {
			first = m.ends
		}
	}
	reply.Next = time.Duration(max(first-now, 0)) * time.Millisecond
	return reply
}

func (r *recordModel) byEnd(a, b string) int {
	if difference := r.members[a].ends - r.members[b].ends; difference != 0 {
		return int(difference)
	}
	return strings.Compare(a, b)
}

// String describes the record, for tests that fail.
func (r *recordModel) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.members)) {
		fmt.Fprintf(&text, "%s: %+v\n", name, *r.members[name])
	}
	return text.String()
}
