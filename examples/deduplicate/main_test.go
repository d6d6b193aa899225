package main

import (
	"strings"
	"testing"

	"github.com/millrace/redisstream/examples/internal/exampletest"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestDeduplicate(t *testing.T) {
	exampletest.OnEach(t, func(t *testing.T) {
		lines := exampletest.Lines(t, run, nil)
		require.Contains(t, lines[0], "REDIS_URL")
		require.Equal(t, strings.TrimSpace(`
coffee
tea: out of hot water, it comes again
tea
cake
closing time`), strings.Join(lines[1:], "\n"))
	})
}
