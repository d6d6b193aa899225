package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/millrace/redisstream/examples/internal/exampletest"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestCQRS(t *testing.T) {
	exampletest.OnEach(t, func(t *testing.T) {
		lines := exampletest.Lines(t, run, nil)
		require.Equal(t, []string{"took the order: coffee", "took the order: tea", "took the order: cake"}, of("counter", lines))
		require.Equal(t, []string{"made: coffee", "made: tea", "made: cake"}, of("kitchen", lines))
		require.Equal(t, "All orders are served.", lines[len(lines)-1])

		screen := of("screen", lines)
		require.Len(t, screen, 6)
		for _, order := range []string{"coffee", "tea", "cake"} {
			placed := slices.Index(screen, "in the making: "+order)
			require.GreaterOrEqual(t, placed, 0, screen)
			require.Greater(t, slices.Index(screen, "ready: "+order), placed, screen)
		}
	})
}

// of returns the lines of one part of the shop.
func of(part string, lines []string) (texts []string) {
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, part+" "); ok {
			texts = append(texts, strings.TrimSpace(rest))
		}
	}
	return texts
}
