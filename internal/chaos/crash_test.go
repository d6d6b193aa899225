package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// soon is how long a test waits for something that happens at once, even on a busy machine.
const soon = 20 * time.Second

var strict = []group{{Name: "strict", MaxInFlight: 1}}

// site is a server and worker processes, whose journals a test reads.
type site struct {
	*testing.T
	*run
	publisher *redisstream.Publisher
	told      map[string]*publication
}

func newSite(t *testing.T, workers int, claimMinIdle time.Duration, groups ...group) *site {
	t.Helper()
	r, err := open(options{rate: 500, workers: workers, groups: groups, claimMinIdle: claimMinIdle, dir: t.TempDir()}, t.Output())
	require.NoError(t, err)
	t.Cleanup(r.close)
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: r.client}, nil)
	require.NoError(t, err)
	return &site{T: t, run: r, publisher: publisher, told: map[string]*publication{}}
}

// tell publishes n messages with the same work, and returns the UUID of the first.
func (s *site) tell(n int, w work) string {
	s.Helper()
	messages := make([]*message.Message, n)
	for i := range messages {
		p := &publication{uuid: fmt.Sprintf("test-%d", len(s.told)), done: true}
		s.told[p.uuid] = p
		messages[i] = w.message(p.uuid, nil)
	}
	require.NoError(s, s.publisher.Publish(s.topic, messages...))
	return messages[0].UUID
}

// events returns the events in the journals of all processes of a worker.
func (s *site) events(w *worker) (all []event) {
	s.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var reader journalReader
	for _, l := range w.lives {
		events, err := reader.readFile(l.journal)
		require.NoError(s, err)
		all = append(all, events...)
	}
	return all
}

// count counts a worker's events of a kind: those of one entry, or all when id is empty.
func (s *site) count(w *worker, k kind, id string) (n int) {
	s.Helper()
	for _, e := range s.events(w) {
		if e.kind == k && (id == "" || e.id == id) {
			n++
		}
	}
	return n
}

func (s *site) eventually(what string, condition func() bool) {
	s.Helper()
	require.Eventually(s, condition, soon, 10*time.Millisecond, what)
}

// verdict waits until the groups have drained, and judges the run.
func (s *site) verdict() (*history, *verdict) {
	s.Helper()
	h, err := s.finish(s.Context())
	require.NoError(s, err)
	maps.Copy(h.published, s.told)
	v := check(h)
	s.report(h, v)
	return h, v
}

// first waits until a worker has the message. It returns the entry's ID, that worker and the
// others.
func (s *site) first(uuid string) (id string, has *worker, others []*worker) {
	s.Helper()
	s.eventually("delivered", func() bool {
		others = nil
		for _, w := range s.workers {
			found := false
			for _, e := range s.events(w) {
				if e.kind == delivered && e.text == uuid {
					id, has, found = e.id, w, true
				}
			}
			if !found {
				others = append(others, w)
			}
		}
		return has != nil
	})
	return id, has, others
}

// Four processes handle many messages, and every half second one process is killed. Nothing is
// lost, and hardly anything is delivered twice.
func TestKills(t *testing.T) {
	t.Parallel()
	const total = 20_000
	s := newSite(t, 4, time.Second, strict...)
	for range total / 1000 {
		s.tell(1000, work{takes: 2 * time.Millisecond})
	}
	random := rand.New(rand.NewPCG(1, 1))
	kills := 0
	for tick := time.NewTicker(500 * time.Millisecond); ; kills++ {
		<-tick.C
		left, err := s.undrained(t.Context())
		require.NoError(t, err)
		if left == "" {
			break
		}
		victim := s.workers[random.IntN(len(s.workers))]
		victim.kill()
		require.NoError(t, victim.start())
	}
	_, v := s.verdict()
	require.True(t, v.ok(), "%+v", v)
	twice := v.deliveries - total
	t.Logf("%d kills, %d of %d messages delivered twice", kills, twice, total)
	assert.GreaterOrEqual(t, kills, 10)
	assert.Less(t, twice, total*3/100)
}

// A process stops for longer than its lease, and another consumer handles its entry. When it runs
// again, the context of its handler is cancelled, and it does not take the entry back.
func TestStopped(t *testing.T) {
	t.Parallel()
	const claimMinIdle = 2 * time.Second // the other process keeps its leases on a busy machine, too
	t.Run("acks after the other is done", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, 2, claimMinIdle, strict...)
		uuid := s.tell(1, work{takes: 3 * time.Second, once: true})
		id, stopped, others := s.first(uuid)
		stopped.stop()
		s.eventually("handled by another", func() bool { return s.count(others[0], confirmed, id) == 1 })
		stopped.resume()
		s.eventually("cancelled", func() bool { return s.count(stopped, cancelled, id) == 1 })
		assert.Zero(t, s.count(stopped, acked, id), "its handler was still working")
		s.eventually("acked late", func() bool { return s.count(stopped, confirmed, id) == 1 })
		s.tell(100, work{})
		_, v := s.verdict()
		require.True(t, v.ok(), "%+v", v)
		assert.Equal(t, 1, s.count(stopped, delivered, id))
		assert.Equal(t, 1, s.count(others[0], delivered, id))
	})
	t.Run("nacks during the other's delivery", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, 2, claimMinIdle, strict...)
		uuid := s.tell(1, work{takes: 8 * time.Second, heeds: true})
		id, stopped, others := s.first(uuid)
		stopped.stop()
		s.eventually("claimed", func() bool { return s.count(others[0], delivered, id) == 1 })
		stopped.resume()
		s.eventually("cancelled", func() bool { return s.count(stopped, cancelled, id) == 1 })
		s.eventually("nacked", func() bool { return s.count(stopped, nacked, id) == 1 })
		assert.Zero(t, s.count(others[0], acked, id), "its handler was still working")
		_, v := s.verdict()
		require.True(t, v.ok(), "%+v", v)
		assert.Equal(t, 1, s.count(stopped, delivered, id))
		assert.Equal(t, 1, s.count(others[0], acked, id))
		assert.Zero(t, s.count(others[0], cancelled, id), "its delivery was not cancelled")
	})
	t.Run("commits after the other did", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, 2, claimMinIdle, group{Name: "committing", MaxInFlight: 4, Commits: true})
		s.tell(1, work{}) // the next one is a transfer
		uuid := s.tell(1, work{takes: 3 * time.Second, once: true})
		id, stopped, others := s.first(uuid)
		stopped.stop()
		s.eventually("committed by another", func() bool { return s.count(others[0], confirmed, id) > 0 })
		stopped.resume()
		s.eventually("refused", func() bool { return s.count(stopped, notHeld, id) == 1 })
		s.tell(100, work{})
		h, v := s.verdict()
		require.True(t, v.ok(), "%+v", v)
		assert.Len(t, h.transferred, 51)
		assert.Equal(t, 1, v.refused)
	})
	t.Run("read ahead", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, 2, claimMinIdle, strict...)
		s.tell(2000, work{takes: time.Millisecond})
		stopped, other := s.workers[0], s.workers[1]
		s.eventually("working", func() bool { return s.count(stopped, acked, "") > 100 })
		stopped.stop()
		s.eventually("another handles all", func() bool {
			left, err := s.undrained(t.Context())
			return err == nil && left == ""
		})
		stopped.resume()
		s.eventually("running again", func() bool { return s.count(stopped, stoodStill, "") == 1 })
		s.tell(100, work{takes: time.Millisecond})
		_, v := s.verdict()
		require.True(t, v.ok(), "%+v", v)
		t.Logf("%d of the read-ahead entries were delivered twice", v.deliveries-2100)
		assert.Positive(t, s.count(other, acked, ""))
	})
}

// A server that writes each command to disk is killed under load and restarts. Nothing is lost, and
// every worker consumes again within two seconds, however long the server was down.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, time.Second, strict...)
	quiet, stop := context.WithCancel(t.Context())
	defer stop()
	var publishing sync.WaitGroup
	for range publishers {
		require.NoError(t, s.publish(quiet, t.Context(), &publishing))
	}
	for _, away := range []time.Duration{50 * time.Millisecond, time.Second, 4 * time.Second} {
		for _, w := range s.workers {
			s.eventually("working", func() bool { return s.count(w, confirmed, "") > 0 })
		}
		s.servers.all[0].Kill()
		time.Sleep(away) // how long the server is down
		require.NoError(t, s.servers.relaunch(0))
		back := time.Now()
		for _, w := range s.workers {
			s.eventually("working again", func() bool {
				events := s.events(w)
				return events[len(events)-1].at > back.UnixNano() && s.since(w, delivered, back) > 0
			})
			assert.Less(t, s.since(w, delivered, back), 2*time.Second, "down for %s", away)
			t.Logf("down for %s: %s works again after %s", away, w.name, s.since(w, delivered, back))
		}
	}
	stop()
	publishing.Wait()
	h, v := s.verdict()
	require.True(t, v.ok(), "%+v", v)
	assert.Greater(t, len(h.published), 100)
}

// since returns how long after a time a worker's first event of a kind came; 0: it has not come.
func (s *site) since(w *worker, k kind, after time.Time) time.Duration {
	for _, e := range s.events(w) {
		if e.kind == k && e.at > after.UnixNano() {
			return time.Duration(e.at - after.UnixNano())
		}
	}
	return 0
}

// A message that kills its process is dead-lettered after three deliveries. Other messages of that
// process are not.
func TestDeadlyMessage(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2, 300*time.Millisecond, group{Name: "strict", MaxInFlight: 1, MaxDeliveries: 3})
	s.tell(200, work{})
	deadly := s.tell(1, work{kills: true})
	s.tell(200, work{})
	s.eventually("the others are handled", func() bool {
		for _, w := range s.workers {
			require.NoError(t, w.start()) // unless it runs
		}
		left, err := s.undrained(t.Context())
		return err == nil && left == ""
	})
	deadLetters, err := s.client.XRange(t.Context(), redisstream.DeadLetterTopic(s.topic), "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, deadLetters, 1)
	assert.Equal(t, deadly, deadLetters[0].Values["_watermill_message_uuid"])
	assert.Equal(t, "3", deadLetters[0].Values[redisstream.DeadLetterDeliveriesKey])
	_, v := s.verdict()
	assert.True(t, v.ok(), "%+v", v)
	deaths := 0
	for _, w := range s.workers {
		for _, l := range w.lives {
			if l.failure != "" {
				deaths++
			}
		}
	}
	assert.Equal(t, 3, deaths)
}
