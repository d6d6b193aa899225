package redistest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Soon is how long a test waits for what is due at once, on a busy machine.
const Soon = 10 * time.Second

// Within returns what comes from the channel soon.
func Within[T any](t *testing.T, what string, channel <-chan T) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(Soon):
		require.FailNow(t, "nothing came in time", what)
		panic("unreachable")
	}
}
