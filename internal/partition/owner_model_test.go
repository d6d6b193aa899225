package partition

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ownerModel does in memory what the scripts of an ownership do on a server.
type ownerModel struct {
	owner      string // empty: nobody
	generation int64
	lease      time.Duration
	ends       time.Time
}

// acquire returns the generation that begins, or how long the owner's lease lasts still.
func (o *ownerModel) acquire(name string, lease time.Duration, now time.Time) (generation int64, wait time.Duration) {
	if o.owner != "" && o.owner != name {
		if o.ends.Sub(now) > o.lease { // the clock was set back
			o.ends = now.Add(o.lease)
		}
		if wait = o.ends.Sub(now); wait > 0 {
			return 0, wait
		}
	}
	*o = ownerModel{owner: name, generation: o.generation + 1, lease: lease, ends: now.Add(lease)}
	return o.generation, 0
}

// renew reports whether this is the owner.
func (o *ownerModel) renew(name string, generation int64, now time.Time) bool {
	if o.owner != name || o.generation != generation {
		return false
	}
	o.ends = now.Add(o.lease)
	return true
}

// release reports whether this was the owner. It may be repeated.
func (o *ownerModel) release(name string, generation int64) bool {
	switch {
	case o.generation != generation || generation == 0:
		return false
	case o.owner == "":
		return true
	case o.owner != name:
		return false
	}
	o.owner = ""
	return true
}

// lose loses the key of the ownership. Generations rise all the same.
func (o *ownerModel) lose() { *o = ownerModel{generation: o.generation + 1} }

// contender is a consumer that uses an ownership on a server and the model in the same way.
type contender struct {
	*stream.Ownership

	name  string
	lease time.Duration
	began int64 // the generation of the model that its last acquire began; 0: none
}

// The model that the simulation runs on does what the scripts do, whatever happens in whatever order:
// consumers acquire, renew and release, also with generations that are over; processes are restarted
// under their names; leases end, or are too far in the future, as after a clock that was set back; the
// key is lost.
func TestOwnerModel_agreesWithTheScripts(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownTag(t) + ":owner:group"
	random := rand.New(rand.NewPCG(6, 7))
	model, generations, happened := ownerModel{}, map[int64]int64{0: 0}, map[string]int{}
	contenders := make([]*contender, 4)
	start := func(i int) {
		name, lease := strconv.Itoa(i), testLease*time.Duration(i+1)
		contenders[i] = &contender{stream.NewOwnership(client, key, name, lease), name, lease, 0}
	}
	for i := range contenders {
		start(i)
	}
	setEnd := func(at time.Time) {
		if model.owner != "" {
			model.ends = at
			require.NoError(t, client.HSet(t.Context(), key, "until", at.UnixMilli()).Err())
		}
	}
	steps := 3000
	if testing.Short() {
		steps = 1000
	}
	for step := range steps {
		now, c, what := time.Now(), contenders[random.IntN(len(contenders))], ""
		switch chance := random.IntN(100); {
		case chance < 40:
			what = "acquire fails"
			generation, wait := model.acquire(c.name, c.lease, now)
			state, err := c.Acquire(t.Context())
			require.NoError(t, err)
			if c.began = generation; generation > 0 {
				what = "acquire"
				assert.Greater(t, state.Generation, generations[generation-1], "step %d", step)
				generations[generation] = state.Generation
			}
			assert.Equal(t, wait == 0, state.Acquired, "step %d", step)
			assert.Equal(t, model.owner, state.Owner, "step %d", step)
			assert.Equal(t, generations[model.generation], state.Generation, "step %d", step)
			assert.InDelta(t, wait, state.Wait, float64(10*time.Minute), "step %d", step)
		case chance < 60:
			what = "renew fails"
			err := c.Renew(t.Context())
			if model.renew(c.name, c.began, now) {
				what = "renew"
				require.NoError(t, err, "step %d", step)
			} else {
				require.ErrorIs(t, err, stream.ErrNotOwner, "step %d", step)
			}
		case chance < 80:
			what = "release fails"
			err := c.Release(t.Context())
			if model.release(c.name, c.began) {
				what = "release"
				require.NoError(t, err, "step %d", step)
			} else {
				require.ErrorIs(t, err, stream.ErrNotOwner, "step %d", step)
			}
		case chance < 86:
			what = "restart"
			start(random.IntN(len(contenders)))
		case chance < 94:
			what = "end of the lease"
			setEnd(now.Add(-time.Minute))
		case chance < 98:
			what = "clock set back"
			setEnd(now.Add(100 * testLease))
		default:
			what = "lost"
			require.NoError(t, client.Del(t.Context(), key).Err())
			model.lose()
			generations[model.generation] = generations[model.generation-1]
		}
		happened[what]++
		assert.Equal(t, model.owner, client.HGet(t.Context(), key, "consumer").Val(), "step %d: %s", step, what)
		if t.Failed() {
			t.FailNow()
		}
	}
	require.Len(t, happened, 10, "all that may happen has happened: %v", happened)
}
