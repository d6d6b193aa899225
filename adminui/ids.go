package adminui

import (
	"regexp"
	"strings"
)

var idPattern = regexp.MustCompile(`^[0-9]{1,20}(-[0-9]{1,20})?$`)

// isID tells whether text is the ID of an entry, also without its second part.
func isID(text string) bool { return idPattern.MatchString(text) }

// later tells whether an ID is newer than another one.
func later(id, than string) bool {
	a, aSeq, _ := strings.Cut(id, "-")
	b, bSeq, _ := strings.Cut(than, "-")
	if order := compareDigits(a, b); order != 0 {
		return order > 0
	}
	return compareDigits(aSeq, bSeq) > 0
}

// compareDigits compares numbers of any length without leading zeros.
func compareDigits(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
