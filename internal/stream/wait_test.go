package stream

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Refused requests follow the slot only if the node accepted no later one.
func TestRedirected_keepsTheOrder(t *testing.T) {
	t.Parallel()
	moved, other := ownError("MOVED 1 127.0.0.1:1"), errors.New("else")
	for name, test := range map[string]struct {
		outcomes []error
		want     int
	}{
		"all":                 {[]error{moved, moved}, 2},
		"the end":             {[]error{nil, other, moved, moved}, 2},
		"the beginning":       {[]error{moved, nil}, 0},
		"some in between":     {[]error{nil, moved, nil}, 0},
		"a failure behind it": {[]error{moved, other}, 0},
		"none":                {[]error{nil, nil}, 0},
	} {
		var requests []*AddRequest
		for _, err := range test.outcomes {
			requests = append(requests, &AddRequest{Err: err})
		}
		assert.Len(t, redirected(requests), test.want, name)
	}
}
