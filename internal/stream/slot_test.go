package stream

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The values are those of CLUSTER KEYSLOT.
func TestSlot(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int{
		"": 0, "123456789": 12739, "orders": 105, "{orders}:count": 105, "a{orders}b{other}": 105, "{}orders": 2209, "{orders": 3879, "}{orders": 10575,
	} {
		assert.Equal(t, want, slot(key), key)
	}
}
