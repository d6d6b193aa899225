package idle

import (
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
)

// The members of an idle group share the looks at it. Each sends a read in BlockTime, with a look for
// a pause, and records.
func TestIdle_commandsOfAGroup(t *testing.T) {
	t.Parallel()
	const members = 20
	config := fixture.GroupConfig()
	config.ClaimInterval, config.BlockTime, config.ClaimMinIdle = 300*time.Millisecond, time.Second, 12*time.Second
	small, large := idleGroup(t, 1, config), idleGroup(t, members, config)
	began, beforeSmall, beforeLarge := time.Now(), calls(small), calls(large)
	time.Sleep(8 * time.Second)
	seconds := time.Since(began).Seconds()
	one, many := rates(beforeSmall, calls(small), seconds), rates(beforeLarge, calls(large), seconds)
	t.Logf("commands/s: %v with one member, %v with %d", one, many, members)
	assert.Less(t, many["xinfo|groups"], 2*one["xinfo|groups"])
	assert.Less(t, many["all"], one["all"]+4*members/config.BlockTime.Seconds())
}

// idleGroup returns a server with a group that was busy and has nothing to do now.
func idleGroup(t *testing.T, members int, config redisstream.SubscriberConfig) *fixture.Bench {
	t.Helper()
	b := fixture.NewOn(t, redistest.Start(t))
	for range members {
		_, messages := b.Subscribe(config)
		go func() {
			for msg := range messages {
				msg.Ack()
			}
		}()
	}
	b.Publish(10 * members)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	reads := calls(b)["xreadgroup"]
	b.Eventually("all have waited in vain", func() bool { return calls(b)["xreadgroup"] >= reads+3*members })
	return b
}

// rates returns how many commands the server ran in a second, by command.
func rates(before, after map[string]int, seconds float64) map[string]float64 {
	rates := map[string]float64{}
	for name, n := range after {
		if n -= before[name]; n > 0 && name != "info" {
			rates[name] = float64(n) / seconds
			rates["all"] += rates[name]
		}
	}
	return rates
}
