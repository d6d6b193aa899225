package admin_test

import (
	"testing"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/stretchr/testify/assert"
)

func at(second int, added, lag, pending int64) admin.Snapshot {
	return admin.Snapshot{Time: time.Unix(int64(second), 0), Topics: []admin.TopicSnapshot{{
		Topic: admin.Topic{Name: "orders", Added: added},
		Groups: []admin.Group{{
			Topic: "orders", Name: "g", Lag: admin.Lag{N: lag, Exact: admin.LagExact}, Pending: pending, OldestAge: time.Second,
		}},
	}}}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := admin.NewHistory(3)
	_, found := h.Latest()
	assert.False(t, found)
	assert.Empty(t, h.Points("orders", "g"))
	h.Add(at(1, 100, 10, 0))
	assert.Empty(t, h.Points("orders", "g"))
	h.Add(at(3, 120, 4, 2))
	h.Add(at(3, 999, 0, 0)) // not newer
	lag := admin.Lag{N: 4, Exact: admin.LagExact}
	second := admin.Point{Time: time.Unix(3, 0), Added: 10, Handled: 12, Lag: lag, Pending: 2, Oldest: time.Second}
	assert.Equal(t, []admin.Point{second}, h.Points("orders", "g"))
	h.Add(at(4, 120, 8, 2)) // a reset
	assert.InDelta(t, -4, h.Points("orders", "g")[1].Handled, 0)
	h.Add(at(5, 120, 0, 0))
	assert.Len(t, h.Points("orders", "g"), 2, "the oldest snapshot is dropped")
	latest, _ := h.Latest()
	assert.Equal(t, time.Unix(5, 0), latest.Time)
	assert.Empty(t, h.Points("orders", "other"))
}

func TestLag_String(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "12", admin.Lag{N: 12, Exact: admin.LagExact}.String())
	assert.Equal(t, "at most 12", admin.Lag{N: 12, Exact: admin.LagAtMost}.String())
	assert.Equal(t, "unknown", admin.Lag{}.String())
	assert.Equal(t, "1700000000000-0", admin.IDAt(time.UnixMilli(1_700_000_000_000)))
}
