package redisstreamprom_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/redisstreamprom"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documented is a row of the table of metrics in docs/metrics.md.
type documented struct{ kind, labels, help string }

// The table has each metric with its type, labels and text, and no other.
func TestMetrics_areDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	table := map[string]documented{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `redisstream_") {
			require.Len(t, cells, 5, line)
			name := strings.Trim(cells[0], "| `")
			table[name] = documented{cells[1], strings.ReplaceAll(cells[2], "`", ""), cells[3]}
		}
	}
	o := redisstreamprom.New(redisstreamprom.Config{})
	everything(o, "orders")
	registered := map[string]documented{}
	b := fixture.New(t)
	b.Publish(1)
	b.ReadAs("c", 1)
	for name, family := range gather(t, o, newCollector(t, b.Client)) {
		registered[name] = documented{kindOf(family), strings.Join(labelsOf(family), ", "), family.GetHelp()}
	}
	assert.Equal(t, registered, table)
}

// newCollector returns a Collector of all topics of a server.
func newCollector(t *testing.T, client redis.UniversalClient) *redisstreamprom.Collector {
	t.Helper()
	operator, err := admin.New(admin.Config{Client: client})
	require.NoError(t, err)
	collector, err := redisstreamprom.NewCollector(redisstreamprom.CollectorConfig{Admin: operator, OnError: func(err error) { t.Error(err) }})
	require.NoError(t, err)
	return collector
}

func kindOf(family *dto.MetricFamily) string { return strings.ToLower(family.GetType().String()) }

// labelsOf returns the names of the labels, topic and group first.
func labelsOf(family *dto.MetricFamily) (names []string) {
	for _, pair := range family.GetMetric()[0].GetLabel() { // each has the same
		names = append(names, pair.GetName())
	}
	order := []string{"topic", "group", "outcome", "reason"}
	slices.SortFunc(names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return names
}
