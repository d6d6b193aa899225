package partition

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/redisstream/internal/stream"
)

// peer is what a member says of itself in the record.
type peer struct {
	name    string
	leaving bool
	keeps   set // what it owns and goes on with
	gives   set // what it still owns, until the running messages are settled
}

const (
	active  = "active"
	leaving = "leaving"
)

// text returns what the record has of the member: "active 0-3,7 9" keeps five partitions and gives
// one.
func (p peer) text() string {
	state := active
	if p.leaving {
		state = leaving
	}
	return state + " " + p.keeps.text() + " " + p.gives.text()
}

var errState = errors.New("no state of a member")

// parsePeer parses the state of a member. Further words are those of newer versions.
func parsePeer(n int, name, text string) (peer, error) {
	words := strings.Fields(text)
	if len(words) < 3 || words[0] != active && words[0] != leaving {
		return peer{}, fmt.Errorf("member %q: %w: %q", name, errState, text)
	}
	keeps, err := parseSet(n, words[1])
	if err != nil {
		return peer{}, fmt.Errorf("member %q: %w", name, err)
	}
	gives, err := parseSet(n, words[2])
	if err != nil {
		return peer{}, fmt.Errorf("member %q: %w", name, err)
	}
	return peer{name, words[0] == leaving, keeps, gives}, nil
}

// ParseState parses what a member wrote into the record: which partitions it owns, and whether it
// leaves.
func ParseState(text string) (owned []int, leaves bool, err error) {
	p, err := parsePeer(stream.MaxPartitions, "", text)
	if err != nil {
		return nil, false, err
	}
	p.keeps.addAll(p.gives)
	return slices.Collect(p.keeps.all()), p.leaving, nil
}
