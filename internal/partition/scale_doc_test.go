package partition

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of docs/scale.md")

const (
	scaleDoc    = "../../docs/scale.md"
	scaleHeader = "| event | balanced after | moved | without an owner: p50, p99, max | topic's slot | partitions' slots |\n" +
		"| --- | --- | --- | --- | --- | --- |\n"
)

// The table in docs/scale.md is what the simulation shows. With the race detector, and with -short,
// only some of its rows are computed.
func TestSimulation_scaleDoc(t *testing.T) { //nolint:tparallel // its subtests end before it goes on
	t.Parallel()
	list := scenarios(simLease)
	if raceEnabled || testing.Short() {
		list = list[1:3]
	}
	rows := make([]string, len(list))
	t.Run("rows", func(t *testing.T) {
		for i, sc := range list {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				r := simulate(t, 0, large, sc)
				r.check(t, sc.limits)
				rows[i] = r.row(sc.name)
			})
		}
	})
	page, err := os.ReadFile(scaleDoc)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(page), scaleHeader)
	require.True(t, found, "the table of docs/scale.md")
	table, after, found := strings.Cut(rest, "\n\n")
	require.True(t, found)
	if *update {
		require.Len(t, list, len(scenarios(simLease)), "all rows")
		text := before + scaleHeader + strings.Join(rows, "") + "\n" + after
		require.NoError(t, os.WriteFile(scaleDoc, []byte(text), 0o600))
		return
	}
	for _, row := range rows {
		assert.Contains(t, table+"\n", row, "run go test ./internal/partition -run TestSimulation_scaleDoc -update")
	}
}
