package partition

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

const wordBits = 64

// set is a set of partitions, as a bitmap.
type set []uint64

// newSet returns an empty set that has room for the partitions 0 to n-1.
func newSet(n int) set { return make(set, (n+wordBits-1)/wordBits) }

func setOf(n int, partitions ...int) set {
	s := newSet(n)
	for _, p := range partitions {
		s.add(p)
	}
	return s
}

// fullSet returns the partitions 0 to n-1.
func fullSet(n int) set {
	s := newSet(n)
	for i := range s {
		s[i] = ^uint64(0)
	}
	if rest := n % wordBits; rest != 0 {
		s[len(s)-1] = 1<<rest - 1
	}
	return s
}

func (s set) has(p int) bool { return s[p/wordBits]&(1<<(p%wordBits)) != 0 }
func (s set) add(p int)      { s[p/wordBits] |= 1 << (p % wordBits) }
func (s set) remove(p int)   { s[p/wordBits] &^= 1 << (p % wordBits) }

func (s set) clone() set { return append(set(nil), s...) }

func (s set) addAll(other set) {
	for i := range s {
		s[i] |= other[i]
	}
}

func (s set) removeAll(other set) {
	for i := range s {
		s[i] &^= other[i]
	}
}

func (s set) keepOnly(other set) {
	for i := range s {
		s[i] &= other[i]
	}
}

func (s set) count() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// last returns the highest partition; -1: there is none.
func (s set) last() int {
	for i, word := range slices.Backward(s) {
		if word != 0 {
			return i*wordBits + wordBits - 1 - bits.LeadingZeros64(word)
		}
	}
	return -1
}

// from returns the first partition from p on; after the last one it begins again with 0. -1: there
// is none.
func (s set) from(p int) int {
	first := p / wordBits
	for i := range len(s) + 1 {
		at := (first + i) % len(s)
		word := s[at]
		switch i {
		case 0:
			word &= ^uint64(0) << (p % wordBits)
		case len(s):
			word &= 1<<(p%wordBits) - 1
		}
		if word != 0 {
			return at*wordBits + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// all returns the partitions in ascending order.
func (s set) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(i*wordBits + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// text returns the set as ranges, such as "0-3,7"; "-" if it is empty.
func (s set) text() string {
	var text strings.Builder
	first, last := -1, -1
	flush := func() {
		if first < 0 {
			return
		}
		if text.Len() > 0 {
			text.WriteByte(',')
		}
		text.WriteString(strconv.Itoa(first))
		if last > first {
			text.WriteByte('-')
			text.WriteString(strconv.Itoa(last))
		}
	}
	for p := range s.all() {
		if p != last+1 || first < 0 {
			flush()
			first = p
		}
		last = p
	}
	flush()
	if text.Len() == 0 {
		return "-"
	}
	return text.String()
}

var errRange = errors.New("no range of partitions")

// parseSet parses what text returns.
func parseSet(n int, text string) (set, error) {
	s := newSet(n)
	if text == "-" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || first < 0 || last < first || last >= n {
			return nil, fmt.Errorf("%w below %d: %q", errRange, n, part)
		}
		for p := first; p <= last; p++ {
			s.add(p)
		}
	}
	return s, nil
}
