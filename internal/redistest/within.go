package redistest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Soon is how long a test waits for something that happens at once, even on a busy machine.
const Soon = 10 * time.Second

// Within returns the next value of the channel. The test fails if none comes within Soon.
func Within[T any](t *testing.T, what string, channel <-chan T) T {
	t.Helper()
	select {
	case value := <-channel:
		return value
	case <-time.After(Soon):
		require.FailNow(t, "timed out", what)
		panic("unreachable")
	}
}
