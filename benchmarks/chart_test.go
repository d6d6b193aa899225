package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBars(t *testing.T) {
	page := report{results: []result{
		{row{"speed", perSecond, []want{{peer, 10}}}, [][]float64{{4000}, {200}, {5000}}},
		{row{"cost", perSecondLess, []want{{ours, 2}}}, [][]float64{{1}, {4}, nil}},
		{row{"time", duration, []want{{peer, 1}}}, [][]float64{{0.005}, {0.001}, nil}},
		{row{"gave up", duration, []want{{ours, 2}}}, [][]float64{{1.5}, {math.Inf(1)}, nil}},
	}}.markdown()
	list, err := bars(page)
	require.NoError(t, err)
	assert.Equal(t, []bar{
		{"speed", "4,000/s", "200/s", 20},
		{"cost", "1/s", "4/s", 4},
		{"time", "5ms", "1ms", 0.2},
	}, list)
	_, err = bars("no table")
	require.ErrorIs(t, err, errNoBars)
}

func TestPosition(t *testing.T) {
	assert.InDelta(t, barsFrom, position(leastShown), 0.01)
	assert.InDelta(t, barsFrom, position(0.001), 0.01)
	assert.InDelta(t, barsTo, position(1e6), 0.01)
	assert.InDelta(t, position(1)+(position(10)-position(1))*2, position(100), 0.01, "the scale is logarithmic")
}

func TestTimes(t *testing.T) {
	for ratio, want := range map[float64]string{0.2: "0.2×", 1: "1×", 1.726: "1.7×", 91: "91×", 5681.8: "5,682×"} {
		assert.Equal(t, want, times(ratio))
	}
}

func TestChart_isXMLWithABarForEachWork(t *testing.T) {
	svg, err := chart(report{results: []result{
		{row{"a < b & c", perSecond, []want{{peer, 1}}}, [][]float64{{2}, {1}, nil}},
		{row{"worse", perSecond, []want{{peer, 1}}}, [][]float64{{1}, {2}, nil}},
	}}.markdown())
	require.NoError(t, err)
	rectangles := 0
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "rect" {
			rectangles++
		}
	}
	assert.Equal(t, 2, rectangles)
	assert.Contains(t, svg, "a &lt; b &amp; c")
	assert.Contains(t, svg, `class="worse"`)
}

// The chart in the repository is drawn from the page beside it.
func TestChart_isThatOfTheResults(t *testing.T) {
	page, err := os.ReadFile("RESULTS.md")
	require.NoError(t, err)
	want, err := chart(string(page))
	require.NoError(t, err)
	got, err := os.ReadFile("results.svg")
	require.NoError(t, err)
	assert.Equal(t, want, string(got), "run: go run . -draw")
}

func TestWriteChart(t *testing.T) {
	page := filepath.Join(t.TempDir(), "RESULTS.md")
	require.Error(t, writeChart(page))
	require.NoError(t, os.WriteFile(page, []byte(report{}.markdown()), 0o600))
	require.ErrorIs(t, writeChart(page), errNoBars)
}
