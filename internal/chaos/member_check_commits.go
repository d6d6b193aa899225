package main

import (
	"fmt"
	"strings"
)

// checkCommits checks that each message that was committed is in the list of the stream once, and in
// the order of its key.
func (h *memberHistory) checkCommits(v *memberVerdict, s *ownedStream) {
	type commit struct{ key, entry string }
	seen := map[commit]bool{}
	newest := map[string]int{}
	for _, line := range h.committed[[2]string{s.group, s.stream}] {
		fields := strings.Fields(line)
		number := numberOf(fields[1])
		c := commit{fields[0], fields[2]}
		if seen[c] {
			v.committed = append(v.committed, fmt.Sprintf("group %s, %s: %s is there twice", s.group, s.stream, line))
		}
		again := number == newest[c.key] && h.uncertain // the message is in two entries
		if number <= newest[c.key] && !again {
			v.committed = append(v.committed, fmt.Sprintf("group %s, %s: %s comes after number %d", s.group, s.stream, line, newest[c.key]))
		}
		seen[c], newest[c.key] = true, max(newest[c.key], number)
		v.commits++
	}
	for _, o := range s.owners {
		for _, one := range o.handlings {
			if one.outcome == outcomeCommitted && !seen[commit{one.Key, one.Entry}] && !overlaps(h.troubles, one.At, one.ended+int64(h.lease)) {
				v.committed = append(v.committed, fmt.Sprintf("%s was committed, and it is not there", one))
			}
		}
	}
}
