package main

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beside returns the other entries that are pending for the owner of an entry.
func (s *site) beside(id string) (ids []string) {
	s.Helper()
	rows, err := s.client.XPendingExt(s.Context(), &redis.XPendingExtArgs{
		Stream: s.topic, Group: "serial", Start: "-", End: "+", Count: 100,
	}).Result()
	require.NoError(s, err)
	owner := ""
	for _, row := range rows {
		if row.ID == id {
			owner = row.Consumer
		}
	}
	for _, row := range rows {
		if row.Consumer == owner && row.ID != id {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// A process stops while it offers an entry that no handler has received. Before it runs again,
// another consumer acknowledges the entry. The entry is not delivered then, unless a handler asks
// for a message at the very moment when the process runs again.
func TestStopped_whileAnOfferStands(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 2*time.Second, group{Name: "serial", MaxInFlight: 2, Serial: true})
	uuid := s.tell(1, work{takes: 8 * time.Second, once: true})
	s.tell(5, work{takes: time.Second, once: true})
	id, stopped, others := s.first(uuid)
	var offered []string
	s.eventually("one is offered", func() bool {
		offered = s.beside(id)
		return len(offered) == 1
	})
	stopped.stop()
	s.eventually("acknowledged by another", func() bool { return s.count(others[0], confirmed, offered[0]) == 1 })
	stopped.resume()
	s.eventually("acked late", func() bool { return s.count(stopped, acked, id) == 1 })
	_, v := s.verdict()
	require.True(t, v.ok(), "%+v", v)
	assert.Zero(t, s.count(stopped, delivered, offered[0]))
}
