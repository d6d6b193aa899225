package stream

import (
	"context"
	"sort"
	"time"
)

const (
	// checkIdle is the shortest pause between two checks while nothing comes, checkBusy while
	// something comes.
	checkIdle = 100 * time.Millisecond
	checkBusy = 5 * time.Second
)

// check finds out whether the stream is still the one that was read, and how many entries were
// missed. After a failover, or when the stream was created again, its IDs may be lower: then
// nothing more would be read.
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

// newestIsThere reports whether the newest entry that was read is in the stream. If so, all before
// it was there too, or was trimmed: a replica has the beginning of what its master had.
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

// checkInfo asks for the stream's Info. If the end of what was read is no longer in the stream,
// reading goes back.
func (f *Fanout) checkInfo(ctx context.Context, lost bool) error {
	f.regularly = time.Now().Add(checkBusy)
	info, err := f.schedule.ask(ctx, f.readConn, f.key, checkIdle)
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

// goBack continues just after an earlier ID.
func (f *Fanout) goBack(to string) {
	if to == "" || !Precedes(to, f.last) {
		return
	}
	from := f.last
	f.last, f.count = to, -1
	f.seen.forget(to)
	f.WentBack(from, to)
}

// settle counts what was missed. The number is known when everything is read, or when nothing of
// what was read is left.
func (f *Fanout) settle(info Info) {
	count := info.Added
	switch {
	case !Precedes(f.last, info.Last):
		if Precedes(info.Last, f.last) && !f.reached { // "0" is the same as "0-0"
			f.count = -1 // the stream has not reached our start yet
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
