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
	var one, many map[string]float64
	t.Run("rates", func(t *testing.T) {
		t.Run("one member", func(t *testing.T) { t.Parallel(); one = idleCommands(t, 1, config) })
		t.Run("many", func(t *testing.T) { t.Parallel(); many = idleCommands(t, members, config) })
	})
	t.Logf("commands/s: %.1f with one member, %.1f with %d: %v", one["all"], many["all"], members, many)
	assert.Less(t, many["xinfo|groups"], 2*one["xinfo|groups"])
	assert.Less(t, many["all"], one["all"]+4*members/config.BlockTime.Seconds())
}

// idleCommands returns how many commands the server runs in a second for a group that was busy and
// has nothing to do now, by command.
func idleCommands(t *testing.T, members int, config redisstream.SubscriberConfig) map[string]float64 {
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
	before, began := calls(b), time.Now()
	time.Sleep(8 * time.Second)
	took := time.Since(began).Seconds()
	rates := map[string]float64{}
	for name, n := range calls(b) {
		if n -= before[name]; n > 0 && name != "info" {
			rates[name] = float64(n) / took
			rates["all"] += rates[name]
		}
	}
	return rates
}
