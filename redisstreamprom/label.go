package redisstreamprom

import (
	"strconv"
	"unicode/utf8"
)

// labelOf returns the value of a label for the name of a topic or a group. Names are any bytes, labels are
// text: other names are quoted.
func labelOf(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.Quote(name)
}
