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
