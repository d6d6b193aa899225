package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/redisstream/examples/internal/exampletest"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestQuickstart(t *testing.T) {
	exampletest.OnEach(t, func(t *testing.T) {
		lines := exampletest.Lines(t, run, nil)
		require.Contains(t, lines[0], "REDIS_URL")
		output := regexp.MustCompile(`\d+-\d+`).ReplaceAllString(strings.Join(lines[1:], "\n"), "ID")
		require.Equal(t, strings.TrimSpace(`
published coffee
published tea
published cake
received  coffee  entry ID, delivery 1: acked
received  tea     entry ID, delivery 1: nacked: out of hot water, it comes again
received  tea     entry ID, delivery 2: acked
received  cake    entry ID, delivery 1: acked
All 3 orders are handled.`), output)
	})
}
