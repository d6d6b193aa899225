package stream

import (
	"cmp"
	"slices"
)

// FieldList holds the names and values of an entry to add, in their order. Its memory has room for
// the arguments of XADD in front of them: the command needs no memory of its own.
type FieldList struct{ args []any }

// xaddHead is how many arguments of XADD may come before the fields:
// XADD key IDMP producer item MINID ~ 1700000000000 *.
const xaddHead = 9

// NewFieldList returns a list of name, value, name, value. A value is a string or a []byte.
func NewFieldList(fields ...any) FieldList {
	args := make([]any, xaddHead, xaddHead+len(fields))
	return FieldList{append(args, fields...)}
}

// SortedFieldList returns a list that is ordered by name. With the same order in every entry, the
// server stores the names once per node of the stream, and not once per entry.
func SortedFieldList(fields map[string]any) FieldList {
	names := make([]string, 0, 8)
	for name := range fields {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	list := FieldList{make([]any, xaddHead, xaddHead+2*len(names))}
	for _, name := range names {
		list.args = append(list.args, name, fields[name])
	}
	return list
}

// Fields returns name, value, name, value.
func (l FieldList) Fields() []any { return l.args[min(xaddHead, len(l.args)):] }

// command returns the list with the arguments before it. They replace those of an earlier command.
func (l FieldList) command(head ...any) []any {
	if len(l.args) == 0 {
		return slices.Clone(head)
	}
	args := l.args[xaddHead-len(head):]
	copy(args, head)
	return args
}

// Sizes returns how many bytes the names and values have, and the longest of them.
func (l FieldList) Sizes() (sum, longest int) {
	for _, field := range l.Fields() {
		n := 0
		switch field := field.(type) {
		case string:
			n = len(field)
		case []byte:
			n = len(field)
		}
		sum, longest = sum+n, max(longest, n)
	}
	return sum, longest
}
