package partition

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testLease = time.Hour

// serverRecord is a record on a server.
type serverRecord struct {
	*stream.PartitionMembers

	client *redis.Client
	key    string
}

// ownTag returns a hash tag that only this run of this test uses.
func ownTag(t *testing.T) string {
	t.Helper()
	return "{" + strings.ReplaceAll(t.Name(), "/", ":") + ":" + crand.Text()[:8] + "}"
}

func newServerRecord(t *testing.T) serverRecord {
	t.Helper()
	client := redistest.Shared().Client(t)
	key := ownTag(t) + ":partition-members:group"
	return serverRecord{stream.NewPartitionMembers(client, key), client, key}
}

// now returns the server's time.
func (r serverRecord) now(t *testing.T) int64 {
	t.Helper()
	now, err := r.client.Time(t.Context()).Result()
	require.NoError(t, err)
	return now.UnixMilli()
}

// endLease sets when the lease of a member is over.
func (r serverRecord) endLease(t *testing.T, name string, ms int64) {
	t.Helper()
	require.NoError(t, r.client.ZAddXX(t.Context(), r.key+":leases", redis.Z{Score: float64(ms), Member: name}).Err())
}

// The model that the simulation runs on does what the script does, whatever happens in whatever
// order: beats, with old and unknown versions; leaves; leases that are over, or too far in the
// future, as after a clock that was set back; a lost record.
func TestModel_agreesWithTheScript(t *testing.T) {
	t.Parallel()
	server := newServerRecord(t)
	now := server.now(t)
	model := newRecordModel(func() int64 { return now })
	random := rand.New(rand.NewPCG(4, 5))
	kinds := map[string]int{}
	names := []string{"a", "b", "c", "d", "e", "f"}
	// What both returned, by the number of the reply. 0: nothing is known.
	ours, theirs := []int64{0}, []int64{0}
	steps := 3000
	if testing.Short() {
		steps = 1000
	}
	for step := range steps {
		require.Eventually(t, func() bool { // versions do not depend on how fast the test runs
			defer func() { now = server.now(t) }()
			return server.now(t) > now
		}, redistest.Soon, 100*time.Microsecond)
		name := names[random.IntN(len(names))]
		what := "beat"
		switch chance := random.IntN(100); {
		case chance < 10:
			what = "leave"
			require.NoError(t, server.Leave(t.Context(), name))
			model.beat(stream.Beat{Name: name})
		case chance < 20:
			what = "death"
			server.endLease(t, name, now-1)
			if model.members[name] != nil {
				model.members[name].ends = now - 1
			}
		case chance < 28:
			what = "clock set back"
			far := now + (10 * testLease).Milliseconds()
			server.endLease(t, name, far)
			if model.members[name] != nil {
				model.members[name].ends = far
			}
		case chance < 30:
			what = "all silent"
			for _, name := range names {
				server.endLease(t, name, now-1)
			}
			for _, m := range model.members {
				m.ends = now - 1
			}
		case chance < 32:
			what = "lost"
			require.NoError(t, server.client.Del(t.Context(), server.key, server.key+":leases", server.key+":changes").Err())
			model.flush()
		default:
			known := max(len(ours)-1-random.IntN(8), 0)
			b := stream.Beat{Name: name, State: "state " + strconv.Itoa(random.IntN(3)), Lease: testLease * time.Duration(1+random.IntN(2))}
			b.Known = theirs[known]
			reply, err := server.Beat(t.Context(), b)
			require.NoError(t, err)
			b.Known = ours[known]
			want := model.beat(b)
			kinds[fmt.Sprintf("beat, all=%v", want.All)]++
			text := fmt.Sprintf("step %d: %+v\n%s", step, b, model)
			assert.Equal(t, want.All, reply.All, text)
			assert.Equal(t, want.States, reply.States, text)
			assert.Equal(t, want.Version == ours[len(ours)-1], reply.Version == theirs[len(theirs)-1], "the version stays: %s", text)
			assert.InDelta(t, want.Age, reply.Age, float64(10*time.Minute), text)
			assert.InDelta(t, want.Next, reply.Next, float64(10*time.Minute), text)
			ours, theirs = append(ours, want.Version), append(theirs, reply.Version)
		}
		kinds[what]++
		version, err := server.Version(t.Context())
		require.NoError(t, err)
		assert.Equal(t, model.head() == 0, version == 0)
		assert.Equal(t, model.head() == ours[len(ours)-1], version == theirs[len(theirs)-1], "the version stays, step %d: %s", step, what)
		if t.Failed() {
			t.FailNow()
		}
	}
	require.Len(t, kinds, 8, "all that may happen has happened: %v", kinds)
}

func beat(t *testing.T, record Record, name, state string, known int64) stream.BeatReply {
	t.Helper()
	reply, err := record.Beat(t.Context(), stream.Beat{Name: name, State: state, Lease: testLease, Known: known})
	require.NoError(t, err)
	return reply
}

// A reply has nothing of members that did not change.
func TestRecord_repliesAreSmall(t *testing.T) {
	t.Parallel()
	server := newServerRecord(t)
	for i := range 200 {
		beat(t, server, strconv.Itoa(i), "active - -", 0)
	}
	all := beat(t, server, "0", "active - -", 0)
	assert.True(t, all.All)
	assert.Len(t, all.States, 200)
	none := beat(t, server, "0", "active - -", all.Version)
	assert.Equal(t, all.Version, none.Version)
	assert.Empty(t, none.States)
	one := beat(t, server, "1", "active 5 -", all.Version)
	assert.False(t, one.All)
	assert.Equal(t, map[string]string{"1": "active 5 -"}, one.States)
	require.NoError(t, server.Leave(t.Context(), "2"))
	gone := beat(t, server, "0", "active - -", one.Version)
	assert.True(t, gone.All)
	assert.Len(t, gone.States, 199)
}

// The record has its keys for a day after the last beat, and none after the last member left.
func TestRecord_keysEnd(t *testing.T) {
	t.Parallel()
	server := newServerRecord(t)
	beat(t, server, "a", "active - -", 0)
	for _, key := range []string{server.key, server.key + ":leases", server.key + ":changes"} {
		assert.Greater(t, server.client.PTTL(t.Context(), key).Val(), 23*time.Hour, key)
	}
	require.NoError(t, server.Leave(t.Context(), "a"))
	assert.Zero(t, server.client.Exists(t.Context(), server.key, server.key+":leases", server.key+":changes").Val())
	require.NoError(t, server.Leave(t.Context(), "a"))
}

// A group has a bound of members, so that a reply has one.
func TestRecord_tooManyMembers(t *testing.T) {
	t.Parallel()
	server := newServerRecord(t)
	pipe := server.client.Pipeline()
	for i := range 2000 {
		pipe.ZAdd(t.Context(), server.key+":leases", redis.Z{Score: 1e15, Member: strconv.Itoa(i)})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	_, err = server.Beat(t.Context(), stream.Beat{Name: "a", State: "active - -", Lease: testLease})
	require.ErrorContains(t, err, "too many members")
}

// A part of the record that is lost, or that somebody else wrote, comes back.
func TestRecord_partIsLost(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", ":leases", ":changes"} {
		t.Run("part"+suffix, func(t *testing.T) {
			t.Parallel()
			server := newServerRecord(t)
			first := beat(t, server, "a", "active 1 -", 0)
			beat(t, server, "b", "active 2 -", 0)
			require.NoError(t, server.client.Del(context.Background(), server.key+suffix).Err())
			beat(t, server, "b", "active 2 -", first.Version)
			beat(t, server, "a", "active 1 -", first.Version)
			reply := beat(t, server, "b", "active 2 -", 0)
			assert.Equal(t, map[string]string{"a": "active 1 -", "b": "active 2 -"}, reply.States)
		})
	}
}
