package adminui

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCharts(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_795_520_068, 0)
	points := []admin.Point{
		{Time: begin, Added: 10, Handled: 5, Lag: admin.Lag{N: 100, Exact: admin.LagExact}},
		{Time: begin.Add(5 * time.Second), Added: 20, Handled: -3, Lag: admin.Lag{Exact: admin.LagUnknown}},
		{Time: begin.Add(10 * time.Second), Added: 40, Handled: 40, Lag: admin.Lag{N: 50, Exact: admin.LagAtMost}},
	}
	assert.Empty(t, charts(points[:1]), "one point makes no line")

	drawn := charts(points)
	require.Len(t, drawn, 3)
	rates, lag := drawn[0], drawn[1]
	assert.Equal(t, "Rates over the last 10.0s. added: now 40/s, between 10/s and 40/s; handled: now 40/s, between 0.0/s and 40/s.", rates.Text)
	assert.Len(t, strings.Fields(rates.Series[0].Points), 3)
	assert.Len(t, strings.Fields(lag.Series[0].Points), 2, "an unknown lag is no point")
	assert.Equal(t, "50", lag.Series[0].Now)
	assert.Equal(t, "0.0,2.0 600.0,60.0", lag.Series[0].Points, "the first one is the highest")
	for _, chart := range charts([]admin.Point{{Time: begin}, {Time: begin}}) {
		assert.NotContains(t, chart.Series[0].Points, "NaN", "nothing happened, and no time passed")
	}
}
