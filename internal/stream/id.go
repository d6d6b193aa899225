package stream

import (
	"strconv"
	"strings"
)

// ValidID reports whether a server accepts the text as an ID: one unsigned 64-bit number, or two
// with a "-" in between.
func ValidID(id string) bool {
	ms, seq, pair := strings.Cut(id, "-")
	if !pair {
		seq = "0"
	}
	_, errMs := strconv.ParseUint(ms, 10, 64)
	_, errSeq := strconv.ParseUint(seq, 10, 64)
	return errMs == nil && errSeq == nil
}
