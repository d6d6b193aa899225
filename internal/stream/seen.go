package stream

import (
	"hash/maphash"
	"sort"
	"strconv"
)

// seenLimit is how many entries a fan-out remembers, of 24 bytes each.
const seenLimit = 4096

// seen remembers what was read, in case the stream loses its end and assigns IDs a second time. It
// has all of the newest entries, and fewer of the older ones.
type seen []sighting

// sighting is an entry that was read. After a failover another entry may have its ID, but with
// another sum.
type sighting struct{ t, n, sum uint64 }

func (s *seen) add(entries []Entry) {
	for i := range entries {
		if len(*s) == seenLimit {
			s.thin()
		}
		t, n := parseID(entries[i].ID)
		*s = append(*s, sighting{t, n, fingerprint(entries[i].Fields)})
	}
}

// thin drops every second entry of the older half.
func (s *seen) thin() {
	list := *s
	kept := list[:0]
	for i, old := range list {
		if i%2 == 0 || i >= seenLimit/2 {
			kept = append(kept, old)
		}
	}
	*s = kept
}

// between returns the part with IDs from first to last.
func (s *seen) between(first, last string) seen {
	list := *s
	from := sort.Search(len(list), func(i int) bool { return !Precedes(list[i].id(), first) })
	to := sort.Search(len(list), func(i int) bool { return Precedes(last, list[i].id()) })
	return list[from:max(from, to)]
}

// forget drops all that is newer than the ID.
func (s *seen) forget(id string) { *s = s.between("0-0", id) }

func (s sighting) id() string {
	return strconv.FormatUint(s.t, 10) + "-" + strconv.FormatUint(s.n, 10)
}

// is reports whether e is the entry that was read.
func (s sighting) is(e Entry) bool { return e.ID == s.id() && fingerprint(e.Fields) == s.sum }

var fingerprintSeed = maphash.MakeSeed()

// fingerprint is the same for the same fields, in whatever order.
func fingerprint(fields Fields) (sum uint64) {
	for name, value := range fields.All() {
		sum += 31*maphash.String(fingerprintSeed, name) ^ maphash.String(fingerprintSeed, value)
	}
	return sum
}
