package idle

import (
	"fmt"
	"strings"

	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/require"
)

// number returns a number of the server's INFO.
func number(b *fixture.Bench, section, name string) (n int) {
	b.Helper()
	info, err := b.Client.Info(b.Context(), section).Result()
	require.NoError(b, err)
	for line := range strings.SplitSeq(info, "\r\n") {
		if value, found := strings.CutPrefix(line, name+":"); found {
			_, err := fmt.Sscan(value, &n)
			require.NoError(b, err)
		}
	}
	return n
}

// calls returns how often the server has run each command, also those of scripts.
func calls(b *fixture.Bench) map[string]int {
	b.Helper()
	info, err := b.Client.InfoMap(b.Context(), "commandstats").Result()
	require.NoError(b, err)
	all := map[string]int{}
	for name, stats := range info["Commandstats"] {
		var n int
		_, err := fmt.Sscanf(stats, "calls=%d", &n)
		require.NoError(b, err)
		all[strings.TrimPrefix(name, "cmdstat_")] = n
	}
	return all
}
