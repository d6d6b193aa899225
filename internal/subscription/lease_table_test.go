package subscription

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

// tableOf returns a table with an entry in each of the states, leased at the given time.
func tableOf(leasedAt time.Time, states ...state) (leaseTable, []*entry) {
	table := newLeaseTable()
	var entries []*entry
	for i, state := range states {
		e := &entry{Entry: stream.Entry{ID: string(rune('1'+i)) + "-0", Deliveries: 1}, size: 10, state: state}
		table.add(e, leasedAt)
		entries = append(entries, e)
	}
	return table, entries
}

func TestLeaseTable_dueAreOldLeasesThatNeedOne(t *testing.T) {
	t.Parallel()
	began := time.Now()
	table, entries := tableOf(began, queued, paused, inFlight, settling, late, queued, queued)
	entries[5].lost, entries[6].trimmed = true, true
	assert.Empty(t, table.due(began))
	var ids []string
	for _, lease := range table.due(began.Add(1)) {
		ids = append(ids, lease.ID)
	}
	assert.ElementsMatch(t, []string{"1-0", "2-0", "3-0", "5-0"}, ids)
}

func TestLeaseTable_renewed(t *testing.T) {
	t.Parallel()
	began := time.Now()
	table, entries := tableOf(began, inFlight, settling, queued, queued)
	entries[0].context = deliveryIn(t.Context())
	table.deferEntry(entries[3])
	later := began.Add(time.Second)
	leases := []stream.Lease{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}, {ID: "4-0"}, {ID: "9-0"}}
	taken, trimmed := table.renewed(leases, later, []string{"1-0", "2-0", "4-0", "9-0"}, []string{"3-0", "9-0"})
	assert.Equal(t, []string{"1-0"}, taken, "2-0 is being acknowledged, and 4-0 may be dead-lettered")
	assert.ErrorIs(t, entries[0].context.Err(), context.Canceled, "the handler learns it")
	assert.True(t, entries[2].trimmed)
	assert.Equal(t, []string{"3-0"}, trimmed)
	_, trimmed = table.renewed(leases, later, nil, []string{"3-0"})
	assert.Empty(t, trimmed, "it was reported")
	assert.Equal(t, later, entries[2].leasedAt)
}

func TestLeaseTable_atClose(t *testing.T) {
	t.Parallel()
	table, entries := tableOf(time.Now(), queued, late, settling, inFlight)
	entries[3].lost = true
	release, keep := table.atClose()
	assert.ElementsMatch(t, []stream.Lease{{ID: "1-0"}, {ID: "3-0"}}, release)
	assert.Equal(t, []string{"2-0"}, keep)
}

func TestLeaseTable_anEntryThatComesAgainIsOursAgain(t *testing.T) {
	t.Parallel()
	began := time.Now()
	table, entries := tableOf(began, inFlight)
	entries[0].lost = true
	assert.False(t, table.add(&entry{Entry: stream.Entry{ID: "1-0"}, size: 10}, began.Add(time.Second)))
	assert.False(t, entries[0].lost)
	assert.Equal(t, began.Add(time.Second), entries[0].leasedAt)
	assert.Equal(t, 10, table.bytes)
}

func TestLeaseTable_bytesAndDeferredEntries(t *testing.T) {
	t.Parallel()
	table, entries := tableOf(time.Now(), settling, queued)
	table.deferEntry(entries[0])
	table.deferEntry(entries[0])
	assert.Equal(t, []int{10, 1}, []int{table.bytes, table.deferred})
	table.remove(entries[0])
	table.remove(entries[0])
	table.remove(entries[1])
	assert.Equal(t, []int{0, 0, 0}, []int{table.bytes, table.deferred, len(table.entries)})
}
