package stream_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entriesReply is a reply to XREADGROUP in RESP 2: two entries, of which one has an empty value.
const entriesReply = "*1\r\n*2\r\n$6\r\nstream\r\n*2\r\n" +
	"*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$2\r\nb\n\r\n$0\r\n\r\n$0\r\n\r\n" +
	"*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nc\r\n"

// entriesOf3 is the same in RESP 3.
const entriesOf3 = "%1\r\n" + "$6\r\nstream\r\n*2\r\n" +
	"*2\r\n$3\r\n1-0\r\n%2\r\n$1\r\na\r\n$2\r\nb\n\r\n$0\r\n\r\n$0\r\n\r\n" +
	"*2\r\n$3\r\n1-1\r\n*2\r\n+a\r\n=5\r\ntxt:c\r\n"

func newEntry(id string, fields ...string) stream.Entry {
	return stream.Entry{ID: id, Fields: stream.NewFields(fields...), Deliveries: 1, Counted: 1}
}

// asMaps returns the IDs and fields of entries in a form that can be compared.
func asMaps(entries []stream.Entry) map[string]map[string]any {
	list := map[string]map[string]any{}
	for _, entry := range entries {
		list[entry.ID] = entry.Fields.Map()
	}
	return list
}

func TestDecode_entries(t *testing.T) {
	t.Parallel()
	two := []stream.Entry{newEntry("1-0", "a", "b\n", "", ""), newEntry("1-1", "a", "c")}
	for name, test := range map[string]struct {
		reply string
		want  []stream.Entry
	}{
		"RESP 2":             {entriesReply, two},
		"RESP 3":             {entriesOf3, two},
		"attribute before":   {"|1\r\n+ttl\r\n:3600\r\n" + entriesReply, two},
		"attribute within":   {strings.Replace(entriesReply, "$6", "|1\r\n$1\r\na\r\n*1\r\n:1\r\n$6", 1), two},
		"CLAIM's elements":   {"*1\r\n*2\r\n+s\r\n*1\r\n*4\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:1\r\n:2\r\n", []stream.Entry{newEntry("1-0", "a", "b")}},
		"entry without":      {"*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n", []stream.Entry{newEntry("1-0")}},
		"no fields":          {"*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n", []stream.Entry{newEntry("1-0")}},
		"no entries":         {"*1\r\n*2\r\n+s\r\n*0\r\n", nil},
		"no streams":         {"*0\r\n", nil},
		"no streams, RESP 3": {"%0\r\n", nil},
	} {
		entries, err := stream.DecodeEntries([]byte(test.reply))
		require.NoError(t, err, name)
		require.Len(t, entries, len(test.want), name)
		assert.Equal(t, asMaps(test.want), asMaps(entries), name)
		for i, entry := range entries {
			assert.Equal(t, test.want[i].ID, entry.ID, name)
			assert.Equal(t, test.want[i].Deliveries, entry.Deliveries, name)
		}
	}
}

func TestDecode_nilIsNoneWaiting(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"*-1\r\n", "$-1\r\n", "_\r\n", "%-1\r\n"} {
		_, err := stream.DecodeEntries([]byte(reply))
		require.ErrorIs(t, err, redis.Nil, reply)
	}
}

func TestDecode_errorsAreTheServers(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"-NOGROUP gone\r\n", "!12\r\nNOGROUP gone\r\n", "*1\r\n-NOGROUP gone\r\n",
		"*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n-NOGROUP gone\r\n",
	} {
		_, err := stream.DecodeEntries([]byte(reply))
		require.EqualError(t, err, "NOGROUP gone", reply)
		assert.True(t, stream.IsGroupGone(err))
		assert.True(t, stream.IsNotApplied(err))
	}
	_, err := stream.DecodeEntries([]byte("-MOVED 1 127.0.0.1:7000\r\n"))
	assert.True(t, stream.IsRedirection(err))
}

// A reply that ends too early, or that has wrong lengths, is an error, and takes little memory.
func TestDecode_malformed(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{entriesReply, entriesOf3} {
		for n := range len(whole) {
			_, err := stream.DecodeEntries([]byte(whole[:n]))
			require.Error(t, err, "%d bytes of %q", n, whole)
		}
	}
	for _, reply := range []string{
		"*9223372036854775807\r\n", "%4611686018427387904\r\n", "*1\r\n*2\r\n+s\r\n*2305843009213693951\r\n",
		"*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n$9223372036854775807\r\n", "*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*1000000000000\r\n",
		"*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*3\r\n+a\r\n+b\r\n+c\r\n", "*1\r\n*2\r\n+s\r\n*1\r\n*3\r\n", "*2\r\n",
		"*1\r\n*2\r\n+s\r\n*-1\r\n", "*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n_\r\n*0\r\n", "*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n+1\r\n*2\r\n_\r\n_\r\n",
		"*1\r\n*3\r\n", "*-2\r\n", "*x\r\n", "*\r\n", "\r\n", "\n", "x1\r\n", "+OK\r\n", ":1\r\n", "|1\r\n+a\r\n", "|9223372036854775807\r\n",
		strings.Repeat("*1\r\n", 1000), strings.Repeat("|1\r\n", 1000), "*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n=3\r\ntxt\r\n*0\r\n",
	} {
		_, err := stream.DecodeEntries([]byte(reply))
		require.Error(t, err, reply)
		assert.False(t, stream.IsNotApplied(err), "%q: entries may be ours", reply)
		assert.NotErrorIs(t, err, redis.Nil, reply)
	}
}

// Not parallel: it measures the process. An entry that waits for long keeps no large reply in
// memory.
func TestDecode_entriesShareLittleMemory(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	var reply strings.Builder
	reply.WriteString("*1\r\n*2\r\n+s\r\n*300\r\n")
	for i := range 300 {
		value := "small"
		if i%3 == 1 {
			value = large
		}
		reply.WriteString("*2\r\n$3\r\n1-0\r\n*2\r\n" + bulks("n", value))
	}
	entries, err := stream.DecodeEntries([]byte(reply.String()))
	require.NoError(t, err)
	require.Len(t, entries, 300)
	for i, entry := range entries {
		value, _ := entry.Fields.Get("n")
		if i%3 == 1 {
			require.Len(t, value, len(large))
			continue
		}
		require.Equal(t, "small", value)
	}
	waiting := entries[0]
	assert.Less(t, heapInUse(t), uint64(64<<20), "of 100 MiB")
	assert.Equal(t, "1-0", waiting.ID)
}

// FuzzDecode compares with go-redis, which reads the same bytes from a connection.
func FuzzDecode(f *testing.F) {
	for _, reply := range []string{
		entriesReply, entriesOf3, "*-1\r\n", "_\r\n", "-NOGROUP gone\r\n", "!3\r\nERR\r\n", "|1\r\n+a\r\n+b\r\n*0\r\n", "*0\r\n",
		"*1\r\n*2\r\n+s\r\n*1\r\n*4\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:1\r\n:2\r\n", "~1\r\n*2\r\n,1.5\r\n>0\r\n", "*1\r\n*2\r\n+s\r\n*-1\r\n",
		"*1\r\n*2\r\n+s\r\n*1\r\n*2\r\n:5\r\n_\r\n",
	} {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		if claimsMuch(reply) {
			_, err := stream.DecodeEntries(reply)
			_ = err // go-redis would panic, or run out of memory
			return
		}
		entries, err := stream.DecodeEntries(reply)
		streams, theirs := decodedByGoRedis(t, reply)
		if theirs != nil {
			require.Error(t, err, "go-redis: %v", theirs)
			_, refused := errors.AsType[redis.Error](theirs)
			if refused && !errors.Is(theirs, redis.Nil) && !strings.HasPrefix(err.Error(), "malformed") {
				require.EqualError(t, err, theirs.Error())
			}
			return
		}
		if err != nil {
			// go-redis accepts these, but they never come among entries.
			unusual := bytes.ContainsAny(reply, "#(|_-") || len(streams) > 1
			require.True(t, unusual, "%v, go-redis: %v", err, streams)
			return
		}
		var messages []redis.XMessage
		if len(streams) > 0 {
			messages = streams[0].Messages
		}
		require.Len(t, entries, len(messages))
		for i, entry := range entries {
			require.Equal(t, messages[i].ID, entry.ID)
			require.Len(t, entry.Fields.Map(), len(messages[i].Values))
			for name, value := range messages[i].Values {
				require.Equal(t, value, entry.Fields.Map()[name])
			}
		}
	})
}

// claimsMuch reports whether a reply has a length with more than six digits.
func claimsMuch(reply []byte) bool {
	for line := range strings.SplitSeq(string(reply), "\n") {
		if len(line) > 7 && strings.ContainsAny(line[:1], "*%~>|$=!") {
			return true
		}
	}
	return false
}

// decodedByGoRedis returns the entries that go-redis decodes from a reply to XREADGROUP.
func decodedByGoRedis(t *testing.T, reply []byte) ([]redis.XStream, error) {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true, PoolSize: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go answer(far, reply)
			return near, nil
		},
	})
	defer func() { require.NoError(t, client.Close()) }()
	return client.XReadGroup(t.Context(), &redis.XReadGroupArgs{
		Group: "g", Consumer: "c", Streams: []string{"s", ">"}, Block: time.Second,
	}).Result()
}

// answer refuses the handshake, and answers XREADGROUP.
func answer(conn net.Conn, reply []byte) {
	defer func() { _ = conn.Close() }()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch strings.ToLower(lines.Text()) {
		case "hello":
			go func() { _, _ = conn.Write([]byte("-ERR unknown command\r\n")) }()
		case "streams":
			go func() {
				_, _ = conn.Write(reply)
				_ = conn.Close()
			}()
		}
	}
}

// bulks returns texts as they are in a reply.
func bulks(texts ...string) string {
	var reply strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&reply, "$%d\r\n%s\r\n", len(text), text)
	}
	return reply.String()
}

// heapInUse returns how many bytes are in use after a garbage collection.
func heapInUse(t *testing.T) uint64 {
	t.Helper()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func BenchmarkDecode(b *testing.B) {
	var reply strings.Builder
	reply.WriteString("*1\r\n*2\r\n+s\r\n*128\r\n")
	for range 128 {
		reply.WriteString("*2\r\n$15\r\n1700000000000-0\r\n*6\r\n" + bulks(
			"_watermill_message_uuid", "6fb2e0a6-6b3a-4e06-8f5f-0d5a4c0f6f1f", "metadata", "", "payload", strings.Repeat("x", 256),
		))
	}
	b.SetBytes(int64(reply.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stream.DecodeEntries([]byte(reply.String())); err != nil {
			b.Fatal(err)
		}
	}
}
