package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// instance is one process of a service: a subscription of a library, and how much it handled.
type instance struct {
	*subscription
	handled atomic.Int64
}

// A service of three instances moves from the peer to us and back, one instance at a time, while
// publishers of both libraries go on. Nothing is lost, and each instance gets messages beside those
// of the other library.
func TestRollingMigrationAndBack(t *testing.T) {
	const instances, share = 3, 100
	var handled tally
	start := func(lib redisLibrary) *instance {
		i := &instance{subscription: subscribe(t, lib, t.Name(), settings{claimIdle: time.Second})}
		i.handle(func(msg *message.Message) {
			i.handled.Add(1)
			handled.add(msg)
		})
		return i
	}
	service := make([]*instance, instances)
	for i := range service {
		service[i] = start(peerLibrary)
	}
	stop := publishSteadily(t, &handled)
	for _, lib := range []redisLibrary{ourLibrary, peerLibrary} {
		for i, old := range service {
			service[i] = start(lib)
			for _, member := range slices.Concat(service, []*instance{old}) {
				before := member.handled.Load()
				eventually(t, "messages at each instance", func() bool { return member.handled.Load() >= before+share })
			}
			old.end()
		}
	}
	published := stop()
	eventually(t, "all messages", func() bool { return handled.len() == published })
	eventually(t, "an empty pending list", func() bool { return pending(t) == 0 })
	groups, err := redistest.Shared().Client(t).XInfoGroups(t.Context(), t.Name()).Result()
	require.NoError(t, err)
	assert.Zero(t, groups[0].Lag)
	t.Logf("%d messages published and handled", published)
}

// publishSteadily publishes with both libraries, 10 messages a call, and stays at most 200 messages
// ahead of the handlers, until it is stopped. Then it returns how many there are.
func publishSteadily(t *testing.T, handled *tally) (stop func() int) {
	t.Helper()
	const each, ahead = 10, 200
	publishers := make([]message.Publisher, 0, 2)
	for _, lib := range []redisLibrary{ourLibrary, peerLibrary} {
		publisher, err := lib.publisher(redistest.Shared().Client(t))
		require.NoError(t, err)
		publishers = append(publishers, publisher)
	}
	var running sync.WaitGroup
	var published atomic.Int64
	stopped := make(chan struct{})
	running.Go(func() {
		for turn := 0; ; turn++ {
			n := int(published.Load())
			if !until(patience, func() bool { return n-handled.len() < ahead || closed(stopped) }) || closed(stopped) {
				return
			}
			if !assert.NoError(t, publishers[turn%2].Publish(t.Name(), numbered(n, n+each)...)) {
				return
			}
			published.Add(each)
		}
	})
	end := sync.OnceFunc(func() {
		close(stopped)
		running.Wait()
		for _, publisher := range publishers {
			assert.NoError(t, publisher.Close())
		}
	})
	t.Cleanup(end)
	return func() int {
		end()
		return int(published.Load())
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
