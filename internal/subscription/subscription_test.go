package subscription

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// work handles n messages, each for d.
func work(messages <-chan *message.Message, n int, d time.Duration) {
	for range n {
		msg := <-messages
		time.Sleep(d)
		msg.Ack()
	}
}

func (s *Subscription) waiting() int {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	return len(s.inbox.held) - s.inbox.working
}

func TestReadAhead_slowHandlerHoldsOnlyWhatItWorksOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1000)
		s, _ := g.start(t, nil)
		for range 50 {
			msg := <-s.Output()
			time.Sleep(60 * time.Millisecond)
			synctest.Wait()
			assert.Zero(t, s.waiting())
			msg.Ack()
		}
		s.Close()
	})
}

func TestReadAhead_growsWithSpeedAndShrinksWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(5000)
		s, _ := g.start(t, nil)
		synctest.Wait()
		g.locked(func() { assert.Equal(t, []int{1}, g.reads, "unknown speed: one") })
		work(s.Output(), 2000, time.Millisecond)
		synctest.Wait()
		assert.InDelta(t, 40, s.waiting(), 15, "50 ms of work of 1 ms")
		work(s.Output(), 60, time.Second) // what is held runs down, and no more comes
		synctest.Wait()
		assert.Zero(t, s.waiting())
		s.Close()
	})
}

func TestReadAhead_lanesAreFilledFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1000)
		s, _ := g.start(t, func(c *Config) { c.Lanes, c.Key = 16, nil })
		var running []*message.Message
		for range 16 {
			running = append(running, <-s.Output())
		}
		synctest.Wait()
		assert.Zero(t, s.waiting())
		for _, msg := range running {
			msg.Ack()
		}
		s.Close()
	})
}

func TestReadAhead_bytesAreBounded(t *testing.T) {
	t.Parallel()
	large := string(make([]byte, 1<<20))
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(500)
		for i := range g.entries { // nobody reads yet
			g.entries[i].Fields = stream.NewFields("data", large)
		}
		s, _ := g.start(t, nil)
		for range 400 {
			(<-s.Output()).Ack()
			synctest.Wait()
			s.inbox.mu.Lock()
			assert.LessOrEqual(t, s.inbox.bytes, maxHeldBytes+(1<<21))
			s.inbox.mu.Unlock()
		}
		s.Close()
	})
}

func TestLease_renewedEveryThirdAndOnlyWhenHeldThatLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3000)
		s, _ := g.start(t, nil)
		work(s.Output(), 2000, time.Millisecond)
		g.locked(func() { assert.Empty(t, g.holds, "a fast flow pays nothing") })
		msg := <-s.Output()
		began := time.Since(g.began)
		time.Sleep(60 * time.Second)
		synctest.Wait()
		msg.Ack()
		s.Close()
		last := began
		for _, at := range g.heldAt {
			assert.LessOrEqual(t, at-last, s.ClaimMinIdle/2)
			last = at
		}
		assert.LessOrEqual(t, len(g.holds), 7, "in one batch each")
		assert.Greater(t, g.holds[0], 1, "what waits is held too")
	})
}

func TestLease_lostEntryIsTakenFromTheHandlerAndTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		s, log := g.start(t, func(c *Config) { c.Lanes, c.Key = 1, nil })
		first := <-s.Output()
		g.locked(func() { g.lost[first.UUID] = true })
		time.Sleep(time.Minute)
		require.Error(t, first.Context().Err())
		first.Nack() // nobody here waits for it
		second := <-s.Output()
		assert.Equal(t, "2-0", second.UUID)
		second.Ack()
		assert.Equal(t, 1, log.Count("lost while they were held"))
		synctest.Wait()
		s.Close()
		assert.NotContains(t, g.released, "1-0")
	})
}

// The process stood still, or the server was away, for longer than the lease: others may have what was read ahead.
func TestLease_overIsRenewedBeforeTheHandlerGetsTheEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3000)
		s, _ := g.start(t, nil)
		work(s.Output(), 2000, time.Millisecond)
		msg := <-s.Output()
		synctest.Wait()
		g.locked(func() { g.fail = errDown })
		time.Sleep(s.ClaimMinIdle + time.Second)
		g.locked(func() {
			g.fail = nil
			for id := range g.pending {
				g.lost[id] = true
			}
			assert.Greater(t, len(g.lost), 2)
		})
		msg.Ack()
		next := <-s.Output()
		g.locked(func() { assert.False(t, g.lost[next.UUID], next.UUID) })
		next.Ack()
		synctest.Wait()
		s.Close()
	})
}

func TestNack_waitsInPlaceAndKeepsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		var attempts []int
		s, _ := g.start(t, func(c *Config) {
			c.Backoff = func(attempt int) time.Duration {
				attempts = append(attempts, attempt)
				return time.Duration(attempt) * time.Second
			}
		})
		began := time.Now()
		for range 3 {
			msg := <-s.Output()
			require.Equal(t, "1-0", msg.UUID)
			msg.Nack()
		}
		msg := <-s.Output()
		require.Equal(t, "1-0", msg.UUID)
		assert.Equal(t, 6*time.Second, time.Since(began))
		assert.Equal(t, []int{1, 2, 3}, attempts)
		msg.Ack()
		assert.Equal(t, "2-0", (<-s.Output()).UUID)
		s.Close()
		assert.Equal(t, map[string]int64{"3-0": 0}, g.released)
		assert.Equal(t, []string{"2-0"}, g.kept, "its handler may still be at work")
	})
}

func TestNack_unorderedLaneGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(100)
		s, _ := g.start(t, func(c *Config) {
			c.Lanes = 2
			c.Backoff = func(int) time.Duration { return time.Hour }
		})
		var nacked []string
		for range 2 {
			msg := <-s.Output()
			nacked = append(nacked, msg.UUID)
			msg.Nack()
		}
		began := time.Now()
		work(s.Output(), 98, 0)
		assert.Less(t, time.Since(began), time.Minute)
		assert.Contains(t, nacked, (<-s.Output()).UUID)
		s.Close()
	})
}

func TestDeadLetter_triedLaterAndLaterWhenItFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(10)
		tries := 0
		s, log := g.start(t, func(c *Config) {
			c.Decode = func(e stream.Entry) (*message.Message, error) {
				if e.ID == "5-0" {
					return nil, errors.New("foreign")
				}
				return message.NewMessage(e.ID, nil), nil
			}
			c.DeadLetter = func(context.Context, DeadLetter) (stream.DeadLetterResult, error) {
				tries++
				return stream.DeadLetterNotOwned, errDown
			}
		})
		work(s.Output(), 9, 0)
		synctest.Wait()
		assert.Equal(t, 9, g.acked())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 20, tries, "1 s, 2 s, 4 s ... 5 min")
		assert.Equal(t, 1, log.Count("dead-lettering failed"))
		s.inbox.mu.Lock()
		assert.Empty(t, s.inbox.held["5-0"].Fields, "there may be any number of such")
		assert.Zero(t, s.inbox.bytes)
		s.inbox.mu.Unlock()
		s.Close()
		assert.EqualValues(t, 0, g.released["5-0"])
	})
}

func TestUndecodable_skippedWhereThereAreNoDeadLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		s, log := g.start(t, func(c *Config) {
			c.Group, c.Release = nil, nil
			c.Decode = func(e stream.Entry) (*message.Message, error) {
				if e.ID == "2-0" {
					return nil, errors.New("foreign")
				}
				return message.NewMessage(e.ID, nil), nil
			}
		})
		work(s.Output(), 2, 0)
		assert.Equal(t, 1, log.Count("entry skipped"))
		synctest.Wait()
		s.Close()
	})
}

func TestOutage_oneLineWhenItBeginsAndOneWhenItEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		s, log := g.start(t, nil)
		g.mu.Lock()
		g.fail = errDown
		g.mu.Unlock()
		time.Sleep(10 * time.Minute)
		g.mu.Lock()
		assert.InDelta(t, 600/0.75, g.fails, 100, "capped backoff")
		g.fail = nil
		g.mu.Unlock()
		g.add(1)
		began := time.Now()
		work(s.Output(), 1, 0)
		assert.LessOrEqual(t, time.Since(began), longestPause)
		synctest.Wait()
		assert.Equal(t, 1, log.Count("level=ERROR"))
		assert.Equal(t, 1, log.Count("works again"))
		s.Close()
	})
}

// serverError is an error of the server.
type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

func TestOutage_groupThatCannotBeCreatedAgainIsOneLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		tries := 0
		s, log := g.start(t, func(c *Config) {
			c.Recreate = func(context.Context, stream.Checkpoint) (string, error) { tries++; return "", errDown }
		})
		g.locked(func() { g.fail = serverError("NOGROUP no such group") })
		time.Sleep(10 * time.Minute)
		g.locked(func() { g.fail = nil })
		time.Sleep(time.Minute)
		s.Close()
		assert.Greater(t, tries, 100)
		assert.Equal(t, 1, log.Count("level=ERROR"))
		assert.Equal(t, 1, log.Count("creating the consumer group again failed"))
	})
}

// A chore that hangs holds up Close no longer than handlers that are running do.
func TestClose_doesNotWaitForAChoreBeforeTheHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(c *Config) {
			c.Chores = []Chore{{What: "hanging", Every: time.Second, Do: func(context.Context) error {
				time.Sleep(8 * time.Second) // as a client does that heeds no context
				return nil
			}}}
			c.CloseTimeout = 5 * time.Second
		})
		<-s.Output() // never acked
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		began := time.Now()
		s.Close()
		assert.LessOrEqual(t, time.Since(began), s.CloseTimeout+time.Second)
		time.Sleep(10 * time.Second) // the chore ends
	})
}

func TestAck_retriedUntilItIsThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(10)
		g.failAcks = 20
		s, log := g.start(t, nil)
		work(s.Output(), 10, 0)
		time.Sleep(time.Minute)
		assert.Equal(t, 10, g.acked())
		assert.Equal(t, 1, log.Count("acknowledging failed"))
		s.Close()
	})
}

// A message that kills its process each time would otherwise take the acks before it along each time.
func TestAck_isThroughBeforeAMessageIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, maxDeliveries int) (*fakeGroup, *Subscription) {
		t.Helper()
		g := newFakeGroup(3)
		g.failAcks = 1 << 30
		g.entries[1].Deliveries, g.entries[1].Counted = 2, 2
		s, _ := g.start(t, func(c *Config) { c.MaxDeliveries = maxDeliveries })
		work(s.Output(), 1, 0)
		return g, s
	}
	t.Run("with MaxDeliveries", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t, 5)
			select {
			case <-s.Output():
				t.Fatal("the ack before is not through")
			case <-time.After(time.Hour):
			}
			g.locked(func() { g.failAcks = 0 })
			msg := <-s.Output()
			assert.Equal(t, 1, g.acked())
			msg.Nack()
			work(s.Output(), 2, 0)
			s.Close()
			assert.Equal(t, 3, g.acked())
		})
	})
	t.Run("Close ends the wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g, s := begin(t, 5)
			synctest.Wait()
			s.Close()
			_, open := <-s.Output()
			assert.False(t, open)
			assert.Equal(t, map[string]int64{"1-0": 1, "2-0": 1, "3-0": 0}, g.released)
		})
	})
	t.Run("without it nobody waits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			_, s := begin(t, 0)
			began := time.Now()
			work(s.Output(), 2, 0)
			assert.Zero(t, time.Since(began))
			s.Close()
		})
	})
}

func TestAck_givenUpWithCloseAndReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(3)
		g.failAcks = 1 << 30
		s, _ := g.start(t, nil)
		work(s.Output(), 3, 0)
		began := time.Now()
		s.Close()
		assert.InDelta(t, (s.CloseTimeout + ackGrace).Seconds(), time.Since(began).Seconds(), 0.1)
		assert.Equal(t, map[string]int64{"1-0": 1, "2-0": 1, "3-0": 1}, g.released)
	})
}

func TestClose_waitsForHandlersAndKeepsTheirLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(c *Config) { c.CloseTimeout = time.Hour })
		msg := <-s.Output()
		go s.Close()
		time.Sleep(40 * time.Minute)
		require.NoError(t, msg.Context().Err())
		g.locked(func() { assert.GreaterOrEqual(t, len(g.holds), int(39*time.Minute/(s.ClaimMinIdle/2))) })
		msg.Ack()
		<-s.Ended().Done()
		assert.Equal(t, 1, g.acked())
		assert.Empty(t, g.released)
	})
}

// Close against everything that a subscription can be waiting for.
func TestClose_endsEveryWait(t *testing.T) {
	t.Parallel()
	for name, stuck := range map[string]func(g *fakeGroup, c *Config){
		"blocked read":    func(_ *fakeGroup, c *Config) { c.BlockTime, c.ClaimInterval = time.Hour, time.Hour },
		"nobody receives": func(g *fakeGroup, _ *Config) { g.add(100) },
		"server down":     func(g *fakeGroup, _ *Config) { g.locked(func() { g.fail = errDown }) },
		"undecodable": func(g *fakeGroup, c *Config) {
			g.add(1)
			c.Decode = func(stream.Entry) (*message.Message, error) { return nil, errDown }
		},
		"long pending list":  func(g *fakeGroup, _ *Config) { g.foreignRows(5000) },
		"many lanes waiting": func(_ *fakeGroup, c *Config) { c.Lanes = 64 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Second} {
				synctest.Test(t, func(t *testing.T) {
					g := newFakeGroup(0)
					s, _ := g.start(t, func(c *Config) { stuck(g, c) })
					time.Sleep(after)
					began := time.Now()
					s.Close()
					s.Close()
					assert.Zero(t, time.Since(began))
					_, open := <-s.Output()
					assert.False(t, open)
					assert.Equal(t, 1, g.releases)
				})
			}
		})
	}
}

func (g *fakeGroup) foreignRows(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range n {
		g.foreign = append(g.foreign, stream.PendingEntry{ID: fmt.Sprintf("%d-0", 1_000_000+i), Consumer: "other", Deliveries: 1})
	}
}

// A claim that the callback refuses again and again does not keep the tail of the list from its turn.
func TestClaim_cursorReachesTheTail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		g.foreignRows(5000)
		s, _ := g.start(t, func(c *Config) {
			c.ShouldClaim = func(row stream.PendingEntry) bool { return row.ID >= "1004990-0" }
		})
		began := time.Now()
		work(s.Output(), 10, 0)
		assert.LessOrEqual(t, time.Since(began), 6*s.ClaimInterval, "a thousand rows a turn")
		s.Close()
	})
}

// While it handles, acks, nacks and loses entries, the subscription is closed at any moment: each entry is
// acknowledged once or released, never both, never neither.
func TestClose_atAnyMoment(t *testing.T) {
	t.Parallel()
	for round := range 200 {
		synctest.Test(t, func(t *testing.T) {
			const total = 300
			g := newFakeGroup(total)
			s, _ := g.start(t, func(c *Config) {
				c.Lanes = 1 + round%4
				c.Backoff = func(int) time.Duration { return time.Millisecond }
			})
			var handlers sync.WaitGroup
			for range c4(round) {
				handlers.Go(func() {
					for msg := range s.Output() {
						time.Sleep(time.Duration(round%7) * 300 * time.Microsecond)
						if len(msg.UUID)%3 == 0 && round%2 == 0 && time.Now().UnixNano()%3 == 0 {
							msg.Nack()
						} else {
							msg.Ack()
						}
					}
				})
			}
			time.Sleep(time.Duration(round) * 137 * time.Microsecond)
			s.Close()
			handlers.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			for id := range g.pending {
				assert.Contains(t, g.released, id)
			}
			for id := range g.released {
				assert.True(t, g.pending[id], "released although acknowledged")
			}
		})
	}
}

func c4(round int) int { return 1 + round%4 }

func TestStart_contextEndsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(5)
		config := Config{}
		s, _ := g.start(t, func(c *Config) { config = *c })
		s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		g2 := newFakeGroup(5)
		config.Source, config.Group, config.Release = g2, g2, g2.release
		s = Start(ctx, config)
		msg := <-s.Output()
		cancel()
		synctest.Wait()
		require.NoError(t, msg.Context().Err(), "the handler may finish")
		msg.Ack()
		<-s.Ended().Done()
		require.Error(t, msg.Context().Err())
		assert.Equal(t, 1, g2.acked())
	})
}
