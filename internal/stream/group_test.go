package stream_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroup_handsOutEachEntryToOneConsumer(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	added := add(t, client, key, 5)
	a, b := join(t, client, key, "a"), join(t, client, key, "b")
	first := read(t, a, 3)
	second := read(t, b, 3)
	assert.Equal(t, added[:3], ids(first))
	assert.Equal(t, added[3:], ids(second))
	assert.Empty(t, read(t, a, 3), "none and no error")
	assert.Equal(t, stream.NewFields("n", "0"), first[0].Fields)
	assert.EqualValues(t, 1, first[0].Deliveries)

	status, err := a.GroupInfo(t.Context())
	require.NoError(t, err)
	assert.Equal(t, stream.GroupInfo{Consumers: 2, Pending: 5, LastDelivered: added[4], Read: 5}, status)

	require.NoError(t, a.Ack(t.Context(), append(added[:2:2], "1-1")), "what is not pending is ignored")
	status, err = b.GroupInfo(t.Context())
	require.NoError(t, err)
	assert.Equal(t, stream.GroupInfo{Consumers: 2, Pending: 3, LastDelivered: added[4], Read: 5}, status)
}

func TestGroup_createLeavesAnExistingGroupAlone(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	group, _, _ := handedOut(t, client, 2)
	require.NoError(t, group.Join(t.Context(), "0"))
	assert.Empty(t, read(t, group, 10), "it did not start anew")
}

func TestGroup_createStartsWhereItIsTold(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	added := add(t, client, key, 3)
	for start, want := range map[string][]string{"0": added, "$": {}, added[1]: added[2:]} {
		require.NoError(t, stream.CreateGroup(t.Context(), client, key, "from "+start, start))
		group := stream.NewGroup(client, key, "from "+start, "a")
		t.Cleanup(group.Close)
		assert.Equal(t, want, ids(read(t, group, 10)), start)
	}
}

func TestGroup_noAckLeavesNothingPending(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	key := ownKey(t)
	added := add(t, client, key, 3)
	group := join(t, client, key, "a")
	group.NoAck = true
	assert.Equal(t, added, ids(read(t, group, 10)))
	assert.Empty(t, pending(t, client, key))
	assert.Empty(t, read(t, group, 10))
}

// newServer stands in for a server of a given version. It answers the commands of a Group that
// begins to read.
type newServer struct {
	version string // what rights.lua returns

	mu    sync.Mutex
	reads []string // XREADGROUP commands
}

func (s *newServer) start(t *testing.T) *redis.Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { s.serve(conn) })
		}
	})
	client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() {
		_ = client.Close()
		_ = listener.Close()
		connections.Wait()
	})
	return client
}

func (s *newServer) serve(conn net.Conn) {
	defer conn.Close()
	for reader := bufio.NewReader(conn); ; {
		words, err := command(reader)
		if err != nil {
			return
		}
		reply := "-ERR unknown command\r\n"
		switch strings.ToLower(words[0]) {
		case "evalsha", "eval":
			reply = "*1\r\n:" + s.version + "\r\n"
		case "xreadgroup":
			s.mu.Lock()
			s.reads = append(s.reads, strings.Join(words, " "))
			s.mu.Unlock()
			reply = "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
		}
		if _, err := conn.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// command reads the words of one command.
func command(reader *bufio.Reader) (words []string, err error) {
	number := func() (n int, err error) {
		line, err := reader.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number()
	for ; n > 0 && err == nil; n-- {
		var size int
		if size, err = number(); err == nil {
			word := make([]byte, size+2)
			_, err = io.ReadFull(reader, word)
			words = append(words, string(word[:size]))
		}
	}
	return words, err
}

// Redis 8.10 and newer limit a reply themselves.
func TestMaxSize_isAskedForWhereItIsKnown(t *testing.T) {
	t.Parallel()
	for version, known := range map[int]bool{0: false, 0x70000: false, 0x70204: false, 0x80600: false, 0x809ff: false, 0x80a00: true, 0x90000: true} {
		for _, noAck := range []bool{false, true} {
			t.Run(fmt.Sprintf("%#x, %t", version, noAck), func(t *testing.T) {
				t.Parallel()
				server := newServer{version: strconv.Itoa(version)}
				group := stream.NewGroup(server.start(t), "k", groupName, "me")
				group.NoAck = noAck
				t.Cleanup(group.Close)
				require.NoError(t, group.CheckRights(t.Context(), stream.RequiredRights{}))
				for _, limit := range []stream.Limit{{Count: 100, Bytes: 5000}, {Count: 1, Bytes: 5000}} {
					entries, err := group.Read(t.Context(), limit, time.Second)
					require.NoError(t, err)
					require.Equal(t, []string{"1-0"}, ids(entries))
				}
				end := map[bool]string{false: "", true: "noack "}[noAck] + "streams k >"
				maxSize := map[bool]string{false: "", true: "maxsize 5000 "}[known]
				assert.Equal(t, []string{
					"xreadgroup group " + groupName + " me count 100 " + maxSize + "block 1000 " + end,
					"xreadgroup group " + groupName + " me count 1 block 1000 " + end,
				}, server.reads)
			})
		}
	}
}

// After a failover to an older server, the reader continues without MAXSIZE.
func TestMaxSize_isGivenUpWhereItIsRefused(t *testing.T) {
	t.Parallel()
	client, key := redistest.Shared().Client(t), ownKey(t)
	group := join(t, client, key, "me")
	require.NoError(t, group.CheckRights(t.Context(), stream.RequiredRights{}))
	known := group.LimitsReplies() // true if the tests run on Redis 8.10 or newer
	group.AssumeLimits()
	want := add(t, client, key, 3)
	entries, err := group.Read(t.Context(), stream.Limit{Count: 10, Bytes: 1 << 20}, time.Second)
	require.NoError(t, err)
	assert.Equal(t, want, ids(entries))
	assert.Equal(t, known, group.LimitsReplies())
}
