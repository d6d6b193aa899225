package main

import (
	"strings"
	"testing"

	"github.com/millrace/redisstream/examples/internal/exampletest"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestTransactions(t *testing.T) {
	exampletest.OnEach(t, func(t *testing.T) {
		lines := exampletest.Lines(t, run, nil)
		require.Contains(t, lines[0], "REDIS_URL")
		require.Equal(t, strings.TrimSpace(`
ann bob 10: made
bob cat 5: power cut, so nothing is changed
bob cat 5: made
cat ann 1: made
ann has -9
bob has 5
cat has 4
3 events were published.`), strings.Join(lines[1:], "\n"))
	})
}
