package stream

import (
	"context"
	"sort"
	"time"
)

const (
	// checkIdle is how often at most a fan-out looks at its stream when nothing comes, checkBusy when something comes.
	checkIdle = 100 * time.Millisecond
	checkBusy = 5 * time.Second
	// noBlock is a read that does not wait.
	noBlock = -1
)

// look finds out whether the stream is still the one that was read, and how much of it was missed. A stream whose IDs went
// back, after a failover or because it began anew, would be read no further.
func (f *Fanout) check(ctx context.Context) error {
	if f.unsure {
		same, err := f.newestIsThere(ctx)
		if err != nil {
			return err
		}
		if !same {
			return f.checkInfo(ctx, true)
		}
		f.unsure = false
	}
	if !f.schedule.due() || time.Now().Before(f.regularly) {
		return nil
	}
	return f.checkInfo(ctx, false)
}

// newestIsThere reports whether the newest entry that was read is in the stream: then so is what came before it, or it was
// trimmed, because a replica has the beginning of what its master had.
func (f *Fanout) newestIsThere(ctx context.Context) (bool, error) {
	if len(f.seen) == 0 {
		return false, nil
	}
	return f.isThere(ctx, f.seen[len(f.seen)-1])
}

func (f *Fanout) isThere(ctx context.Context, s sighting) (bool, error) {
	entries, err := f.readFrom(ctx, Before(s.id()), 1, noBlock)
	return len(entries) > 0 && s.is(entries[0]), err
}

// checkInfo asks for the stream's info, and goes back where the end of what was read is not in the stream any more.
func (f *Fanout) checkInfo(ctx context.Context, lost bool) error {
	f.regularly = time.Now().Add(checkBusy)
	info, err := f.schedule.ask(ctx, f.privateConn, checkIdle)
	if err != nil || info.Last == "" {
		return err
	}
	behind := f.reached && Precedes(info.Last, f.last)
	another := f.count > info.Added // fewer entries than were read
	if behind || another || lost {
		to, err := f.newestLeft(ctx, info)
		if err != nil {
			return err
		}
		if to == "" && (behind || another) {
			to = "0-0"
		}
		f.goBack(to)
	}
	f.unsure = false
	f.settle(info)
	return nil
}

// newestLeft returns the newest entry that was read and is in the stream; empty: none.
func (f *Fanout) newestLeft(ctx context.Context, info Info) (id string, err error) {
	if info.Length == 0 {
		return "", nil
	}
	left := f.seen.between(info.First, info.Last)
	gone := sort.Search(len(left), func(i int) bool {
		there := false
		if err == nil {
			there, err = f.isThere(ctx, left[i])
		}
		return !there
	})
	if err != nil || gone == 0 {
		return "", err
	}
	return left[gone-1].id(), nil
}

// goBack goes on behind an earlier ID.
func (f *Fanout) goBack(to string) {
	if to == "" || !Precedes(to, f.last) {
		return
	}
	from := f.last
	f.last, f.count = to, -1
	f.seen.forget(to)
	f.WentBack(from, to)
}

// settle counts what was missed, when that can be told: when all is read, or nothing of what was read is left.
func (f *Fanout) settle(info Info) {
	count := info.Added
	switch {
	case !Precedes(f.last, info.Last):
		if f.last != info.Last && !f.reached {
			f.count = -1 // the stream has not come to where we begin
			return
		}
	case info.Length == 0 || Precedes(f.last, info.First):
		count -= info.Length
	default:
		f.reached = true
		return
	}
	f.reached = true
	if info.Added == 0 && info.Last != "0-0" {
		return // the server does not count
	}
	if missed := count - f.count; f.count >= 0 && missed > 0 {
		f.Missed(missed)
	}
	f.count = count
}
