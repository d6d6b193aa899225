package partition

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/require"
)

// BenchmarkRecord measures how long the server works on a call, with the 200 members and 1,024
// partitions of docs/scale.md.
func BenchmarkRecord(b *testing.B) {
	server := redistest.Start(b)
	client := server.Client(b)
	record := stream.NewPartitionMembers(client, "{topic}:partition-members:group")
	state := func(i, moved int) string {
		return peer{"", false, setOf(large.partitions, i, i+200, i+400, i+600, i+800, (i+moved)%24+1000), newSet(large.partitions)}.text()
	}
	send := func(i, moved int, known int64) stream.BeatReply {
		reply, err := record.Beat(b.Context(), stream.Beat{Name: fmt.Sprintf("member-%04d", i), State: state(i, moved), Lease: testLease, Known: known})
		require.NoError(b, err)
		return reply
	}
	for i := range large.members {
		send(i, 0, 0)
	}
	version, err := record.Version(b.Context())
	require.NoError(b, err)
	for _, kind := range []struct {
		name, command string
		run           func(i int)
	}{
		{"look", "hget", func(int) { _, _ = record.Version(b.Context()) }},
		{"beat", "evalsha", func(i int) { send(i%large.members, 0, version) }},
		{"beat with a change", "evalsha", func(i int) { version = send(i%large.members, i, version).Version }},
		{"beat of a newcomer", "evalsha", func(i int) { send(i%large.members, 0, 0) }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			require.NoError(b, client.ConfigResetStat(b.Context()).Err())
			for i := range b.N {
				kind.run(i)
			}
			info, err := client.Info(b.Context(), "commandstats").Result()
			require.NoError(b, err)
			_, rest, _ := strings.Cut(info, "cmdstat_"+kind.command+":")
			_, rest, _ = strings.Cut(rest, "usec_per_call=")
			text, _, _ := strings.Cut(rest, ",")
			each, err := strconv.ParseFloat(text, 64)
			require.NoError(b, err)
			b.ReportMetric(each, "server-µs/op")
		})
	}
}
