package main

import (
	"strings"
	"testing"

	"github.com/millrace/redisstream/examples/internal/exampletest"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestRetries(t *testing.T) {
	exampletest.OnEach(t, func(t *testing.T) {
		lines := exampletest.Lines(t, run, nil)
		require.Contains(t, lines[0], "REDIS_URL")
		require.Equal(t, strings.TrimSpace(`
tea: out of hot water, delivery 1
cake: no recipe, delivery 1
coffee is ready
tea: out of hot water, delivery 2
tea is ready
cake is ready
paid: tea cake coffee`), strings.Join(lines[1:], "\n"))
	})
}
