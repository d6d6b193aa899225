package subscription

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// firstOld gives all IDs of a test the same length: the fake compares them as strings.
const firstOld = 10_000

// abandoned returns rows of a dead consumer, older than all that a fakeGroup hands out.
func abandoned(n int) []stream.PendingEntry {
	rows := make([]stream.PendingEntry, n)
	for i := range rows {
		rows[i] = stream.PendingEntry{ID: fmt.Sprintf("0-%d", firstOld+i), Consumer: "dead", Idle: time.Minute, Deliveries: 1}
	}
	return rows
}

func isOld(id string) bool { return strings.HasPrefix(id, "0-") }

// inOrder fails the test if the order of first deliveries is wrong: from the first old entry on,
// all old ones come before any new one, by ID.
func inOrder(t *testing.T, handed []string, old int) {
	t.Helper()
	seen := map[string]bool{}
	last := ""
	for i, id := range handed {
		if seen[id] {
			continue
		}
		seen[id] = true
		if !isOld(id) {
			require.True(t, last == "" || old == 0, "%s is handed out at %d while %d older ones are still to come", id, i, old)
			continue
		}
		require.True(t, last == "" || stream.Precedes(last, id), "%s comes behind %s", id, last)
		last = id
		old--
	}
	require.Zero(t, old, "old entries that never came")
}

// handle acks n messages, each after d, and returns their UUIDs in the order in which they came.
func handle(messages <-chan *message.Message, n int, d time.Duration) (ids []string) {
	for range n {
		msg := <-messages
		ids = append(ids, msg.UUID)
		time.Sleep(d)
		msg.Ack()
	}
	return ids
}

func TestTakeOver_strictOrder(t *testing.T) {
	t.Parallel()
	for _, takes := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond} {
		for _, old := range []int{1, 40, claimPage, 3 * claimPage} {
			t.Run(fmt.Sprintf("%d entries, handlers of %s", old, takes), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const total = 400
					g := newFakeGroup(total)
					s, _ := g.start(t, nil)
					handed := handle(s.Output(), 100, takes)
					g.locked(func() { g.foreign = abandoned(old) })
					handed = append(handed, handle(s.Output(), total-100+old, takes)...)
					inOrder(t, handed, old)
					s.Close()
				})
			})
		}
	}
}

// Each key has old and newer entries, and some are nacked at first.
func TestTakeOver_orderOfKeys(t *testing.T) { //nolint:gocognit // one scenario
	t.Parallel()
	for _, old := range []int{40, 1200} {
		for _, keys := range []int{3, 50} {
			t.Run(fmt.Sprintf("%d entries, %d keys", old, keys), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const total = 500
					number := func(uuid string) (n int) {
						_, err := fmt.Sscanf(strings.TrimPrefix(uuid, "0-"), "%d", &n)
						require.NoError(t, err)
						return n
					}
					key := func(msg *message.Message) string { return fmt.Sprint(number(msg.UUID) % keys) }
					g := newFakeGroup(total)
					s, _ := g.start(t, func(c *options) {
						c.Workers, c.Key = 8, key
						c.Backoff = func(int) time.Duration { return 30 * time.Millisecond }
					})
					var mu sync.Mutex
					byKey := map[string][]string{}
					nacked := map[string]bool{}
					handled := make(chan struct{}, total+old)
					done := make(chan struct{})
					for range 8 {
						go func() {
							for {
								var msg *message.Message
								select {
								case msg = <-s.Output():
								case <-done:
									return
								}
								mu.Lock()
								byKey[key(msg)] = append(byKey[key(msg)], msg.UUID)
								nack := number(msg.UUID)%17 == 0 && !nacked[msg.UUID]
								nacked[msg.UUID] = nack || nacked[msg.UUID]
								mu.Unlock()
								time.Sleep(time.Duration(1+number(msg.UUID)%7) * time.Millisecond)
								if nack {
									msg.Nack()
									continue
								}
								msg.Ack()
								handled <- struct{}{}
							}
						}()
					}
					for range 100 {
						<-handled
					}
					g.locked(func() { g.foreign = abandoned(old) })
					for range total - 100 + old {
						<-handled
					}
					close(done)
					for k, handed := range byKey {
						count := 0
						for i := range old {
							if fmt.Sprint((firstOld+i)%keys) == k {
								count++
							}
						}
						inOrder(t, handed, count)
					}
					s.Close()
				})
			})
		}
	}
}

// Abandoned entries of a key that fails wait. Those of other keys do not.
func TestTakeOver_keyThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(200)
		g.foreign = abandoned(901)
		s, _ := g.start(t, func(c *options) {
			c.Workers = 10
			c.Key = func(msg *message.Message) string {
				if isOld(msg.UUID) && msg.UUID < "0-10900" {
					return "poison"
				}
				return msg.UUID
			}
			c.Backoff = func(int) time.Duration { return 20 * time.Second }
		})
		began := time.Now()
		for handled := 0; handled < 201; {
			msg := <-s.Output()
			if s.Key(msg) == "poison" {
				msg.Nack()
				continue
			}
			msg.Ack()
			handled++
		}
		assert.Less(t, time.Since(began), 2*time.Second)
		s.Close()
	})
}

// Some claims fail. Newer entries wait for the next attempt, but not for ever.
func TestTakeOver_claimsThatFail(t *testing.T) {
	t.Parallel()
	for _, failing := range []int{3, 50} {
		t.Run(fmt.Sprint(failing), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const old, newer = 40, 200
				g := &flaky{fakeGroup: newFakeGroup(newer), after: 3, failing: failing}
				g.foreign = abandoned(old)
				s, _ := g.start(t, func(c *options) { c.Stream = g })
				handed := handle(s.Output(), 2, 0)
				began := time.Now()
				handed = append(handed, handle(s.Output(), old-2+newer, time.Millisecond)...)
				if failing == 3 {
					inOrder(t, handed, old)
				}
				assert.Less(t, time.Since(began), 2*time.Minute)
				s.Close()
			})
		})
	}
}

// flaky is a group whose first claims work, and whose next ones fail.
type flaky struct {
	*fakeGroup
	after, failing int
}

func (g *flaky) Claim(ctx context.Context, claim stream.Claim) (stream.Claimed, error) {
	if g.after--; g.after < 0 && g.failing > 0 {
		g.failing--
		return stream.Claimed{}, errDown
	}
	return g.fakeGroup.Claim(ctx, claim)
}

// Entries of an earlier process with our name are delivered first and in order. New entries follow
// at once.
func TestTakeOver_ownEntries(t *testing.T) {
	t.Parallel()
	for _, own := range []int{1, 2, claimPage - 1, claimPage, claimPage + 1, 3 * claimPage} {
		for _, vanish := range []int{0, 1} {
			t.Run(fmt.Sprint(own, vanish), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := &namesake{fakeGroup: newFakeGroup(300), vanish: vanish}
					g.foreign = abandoned(own)
					s, _ := g.start(t, func(c *options) {
						c.Stream, c.EarlierProcess, c.NeverClaim = g, true, true
						c.ClaimInterval = time.Hour
					})
					first := handle(s.Output(), 1, 0)
					began := time.Now()
					inOrder(t, append(first, handle(s.Output(), own+299-min(vanish, own-1), 0)...), own-min(vanish, own-1))
					assert.Less(t, time.Since(began), time.Second)
					s.Close()
				})
			})
		}
	}
}

// A release takes back deliveries that it does not know of only when the search for entries of an
// earlier process is over.
func TestClose_takesBackWhatNoEarlierProcessHad(t *testing.T) {
	t.Parallel()
	for own, takeBack := range map[int]bool{0: true, 1: true, claimPage: false} {
		t.Run(strconv.Itoa(own), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &namesake{fakeGroup: newFakeGroup(1)}
				g.foreign = abandoned(own)
				s, _ := g.start(t, func(c *options) {
					c.Stream, c.EarlierProcess, c.NeverClaim = g, true, true
				})
				synctest.Wait()
				s.Close()
				assert.Equal(t, takeBack, g.takeBack)
			})
		})
	}
}

// namesake is a group whose foreign entries are our own. Some vanish after the first claim.
type namesake struct {
	*fakeGroup
	vanish int
}

func (g *namesake) Pending(ctx context.Context, page stream.Page) ([]stream.PendingEntry, error) {
	if page.Idle > 0 {
		return nil, nil // no entry is idle
	}
	page.Own = false
	return g.fakeGroup.Pending(ctx, page)
}

func (g *namesake) Claim(ctx context.Context, claim stream.Claim) (stream.Claimed, error) {
	claimed, err := g.fakeGroup.Claim(ctx, claim)
	g.locked(func() {
		n := min(g.vanish, len(g.foreign))
		g.foreign, g.vanish = g.foreign[n:], 0
	})
	return claimed, err
}

// A scan reaches the end of the list, although ShouldClaim refuses many entries before it.
func TestClaim_cursorReachesTheTail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(0)
		g.foreignRows(5000)
		s, _ := g.start(t, func(c *options) {
			c.ShouldClaim = func(row stream.PendingEntry) bool { return row.ID >= "1004990-0" }
		})
		began := time.Now()
		work(s.Output(), 10, 0)
		assert.LessOrEqual(t, time.Since(began), 6*interval, "a thousand rows a scan")
		s.Close()
	})
}

// A scan claims no entry that the inbox holds, even if its lease is over because renewals hang.
func TestTakeOver_claimsNothingThatIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		s, _ := g.start(t, func(c *options) { c.Workers = 2 }) // there is room for more
		msg := <-s.Output()
		g.locked(func() {
			g.foreign = append(g.foreign, stream.PendingEntry{ID: "1-0", Consumer: "us", Deliveries: 1, Idle: 2 * minIdle})
		})
		time.Sleep(10 * interval)
		g.locked(func() { assert.Zero(t, g.claims) })
		msg.Ack()
		time.Sleep(2 * interval)
		g.locked(func() { assert.NotZero(t, g.claims, "it is held no more") })
		s.Close()
	})
}

// The reply to a claim in the middle of a scan is lost. Then our own entries wait for older ones that
// the scan is about to claim, and must not keep it from claiming them.
func TestTakeOver_lostReplyInAScan(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"fast handlers": 0, "slow handlers": 2 * aheadWindow} {
		for lost := range 12 {
			t.Run(fmt.Sprintf("%s, claim %d", name, lost), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const old = 12
					g := newFakeGroup(0)
					g.foreign = abandoned(old)
					g.loses = func() bool { return g.claims == lost+1 }
					s, _ := g.start(t, nil)
					inOrder(t, handle(s.Output(), old, takes), old)
					s.Close()
				})
			})
		}
	}
}
