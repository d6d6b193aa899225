package redistest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

var shared *Server

const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe.func"

// Main is the TestMain of a package whose tests share a server: it fails the package with one
// line when there is no server, and when a goroutine outlives the tests.
func Main(m *testing.M) {
	var err error
	if shared, err = Launch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(
			// Watermill's suite leaves those of its own behind.
			goleak.IgnoreAnyFunction(multiplier+"1"), goleak.IgnoreAnyFunction(multiplier+"2"), goleak.IgnoreAnyFunction(multiplier+"3"),
			goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/pubsub/tests.TestReconnect.func2"),
			// go-redis's looks each second whether a server that could not be dialled is back, or its client closed.
			goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines outlive the tests:", err)
			code = 1
		}
	}
	shared.Remove()
	os.Exit(code)
}

// Shared returns the server that all tests of the package use; nobody kills it.
func Shared() *Server { return shared }
