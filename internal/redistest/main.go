package redistest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

var shared *Server

const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe.func"

// Main is the TestMain of a package whose tests share a server. The package fails with one line if
// there is no server, and if a goroutine outlives the tests.
func Main(m *testing.M) {
	var err error
	if shared, err = Launch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(
			// Watermill's test suite leaks these.
			goleak.IgnoreAnyFunction(multiplier+"1"), goleak.IgnoreAnyFunction(multiplier+"2"), goleak.IgnoreAnyFunction(multiplier+"3"),
			goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/pubsub/tests.TestReconnect.func2"),
			// go-redis checks every second whether a server that refused connections is back, until
			// its client is closed.
			goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines outlive the tests:", err)
			code = 1
		}
	}
	shared.Remove()
	os.Exit(code)
}

// Shared returns the server that all tests of the package use. Tests must not kill it.
func Shared() *Server { return shared }
