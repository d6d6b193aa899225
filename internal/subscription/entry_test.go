package subscription

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A change that is not in the table panics with the entry's ID.
func TestEntry_statesAreChecked(t *testing.T) {
	t.Parallel()
	all := []state{queued, paused, inFlight, settling, late}
	allowed := map[state][]state{
		queued: {inFlight}, paused: {queued}, inFlight: {paused, settling, late, queued}, settling: {paused, queued}, late: nil,
	}
	for _, from := range all {
		for _, to := range all {
			e := queuedEntry("7-0", "")
			e.state = from
			change := func() { e.become(to) }
			if slices.Contains(allowed[from], to) {
				assert.NotPanics(t, change)
				assert.Equal(t, to, e.state)
			} else {
				assert.Panics(t, change, "%d to %d", from, to)
			}
		}
	}
}

func TestEntry_countsDeliveriesOfAllProcesses(t *testing.T) {
	t.Parallel()
	e := queuedEntry("7-0", "")
	e.Deliveries = 3
	assert.EqualValues(t, 2, e.delivered(), "those before this one")
	e.handed++
	assert.EqualValues(t, 3, e.delivered())
	assert.False(t, e.isLater("6-0"), "a handler had it")
}
