package main

import (
	"strings"
	"testing"

	"github.com/millrace/redisstream/examples/internal/exampletest"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestIdempotent(t *testing.T) {
	exampletest.OnEach(t, func(t *testing.T) {
		lines := exampletest.Lines(t, run, nil)
		require.Contains(t, lines[0], "REDIS_URL")
		require.Equal(t, strings.TrimSpace(`
after a lost reply: 1 order
after two orders that came twice: 3 orders, 2 duplicates`), strings.Join(lines[1:], "\n"))
	})
}
