package main

import (
	"errors"
	"fmt"
	"html"
	"math"
	"os"
	"strconv"
	"strings"
)

// bar is one row of the chart. The ratio tells how many times better we are than the peer; below 1
// the peer is better.
type bar struct {
	name, ours, peer string
	better           float64
}

var errNoBars = errors.New("the page has no table with ratios")

// bars reads the table that report.markdown wrote. Rows that the peer did not finish have no bar.
func bars(page string) (list []bar, err error) {
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != columns {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		ratio, err := strconv.ParseFloat(cells[ratioColumn], 64)
		if err != nil || ratio <= 0 {
			continue // the head of the table, or a row without a ratio
		}
		if strings.HasPrefix(cells[requiredColumn], "≤") { // less is better
			ratio = 1 / ratio
		}
		list = append(list, bar{name: cells[0], ours: cells[1], peer: cells[2], better: ratio})
	}
	if len(list) == 0 {
		return nil, errNoBars
	}
	return list, nil
}

// Columns of report.table.
const (
	columns        = 8
	ratioColumn    = 4
	requiredColumn = 6
)

// Measures of the chart in pixels. Bars have a logarithmic scale: to the right where we are better,
// to the left where the peer is.
const (
	chartWidth = 880
	rowHeight  = 24
	chartTop   = 56
	namesEnd   = 360 // right edge of the names
	barsFrom   = 372 // where a bar for leastShown ends
	barsTo     = 660 // where a bar for mostShown ends
	leastShown = 0.1
	mostShown  = 100
)

// position returns where a ratio is on the scale. Values outside of the scale are at its ends.
func position(ratio float64) float64 {
	ratio = min(max(ratio, leastShown), mostShown)
	part := math.Log(ratio/leastShown) / math.Log(mostShown/leastShown)
	return barsFrom + part*(barsTo-barsFrom)
}

// times formats a ratio.
func times(ratio float64) string {
	if ratio >= 100 {
		return groupThousands(int64(math.Round(ratio))) + "×"
	}
	return strconv.FormatFloat(ratio, 'g', 2, 64) + "×"
}

// style has colours that are readable on white and on black, and better ones where the reader's
// colour scheme is known.
const style = `text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#6e7781}
.title{font-size:15px;font-weight:600}
.value{font-weight:600}
.better{fill:#2da44e}
.worse{fill:#bf8700}
line{stroke:#6e7781;stroke-opacity:.4}
@media (prefers-color-scheme:dark){text{fill:#c9d1d9}.better{fill:#3fb950}.worse{fill:#d29922}}
@media (prefers-color-scheme:light){text{fill:#24292f}}`

// chart draws the table of a page as SVG.
func chart(page string) (string, error) {
	list, err := bars(page)
	if err != nil {
		return "", err
	}
	height := chartTop + rowHeight*len(list) + 8
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		chartWidth, height, chartWidth, height)
	title := "How many times better than watermill-redisstream 1.4.5 (logarithmic scale)"
	fmt.Fprintf(&svg, "<title>%s</title>\n<style>%s</style>\n", title, style)
	fmt.Fprintf(&svg, `<text class="title" x="8" y="20">%s</text>`+"\n", title)
	for _, tick := range []float64{0.1, 1, 10, 100} {
		x := position(tick)
		fmt.Fprintf(&svg, `<text x="%.1f" y="44" text-anchor="middle">%s</text>`+"\n", x, times(tick))
		fmt.Fprintf(&svg, `<line x1="%.1f" x2="%.1f" y1="50" y2="%d"/>`+"\n", x, x, height-8)
	}
	fmt.Fprintf(&svg, `<text x="%d" y="44">better by (ours, peer)</text>`+"\n", barsTo+40)
	for i, b := range list {
		b.draw(&svg, chartTop+rowHeight*i)
	}
	svg.WriteString("</svg>\n")
	return svg.String(), nil
}

// draw draws the bar in the row that begins at y.
func (b bar) draw(svg *strings.Builder, y int) {
	from, to, class := position(1), position(b.better), "better"
	if b.better < 1 {
		from, to, class = to, from, "worse"
	}
	baseline := y + rowHeight - 7
	fmt.Fprintf(svg, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", namesEnd, baseline, html.EscapeString(b.name))
	fmt.Fprintf(svg, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", class, from, y+4, max(to-from, 1), rowHeight-8)
	fmt.Fprintf(svg, `<text x="%d" y="%d"><tspan class="value">%s</tspan> (%s, %s)</text>`+"\n",
		barsTo+8, baseline, times(b.better), html.EscapeString(b.ours), html.EscapeString(b.peer))
}

// writeChart draws the table of a page to an SVG file beside it.
func writeChart(pageFile string) error {
	page, err := os.ReadFile(pageFile)
	if err != nil {
		return err
	}
	svg, err := chart(string(page))
	if err != nil {
		return fmt.Errorf("%s: %w", pageFile, err)
	}
	return os.WriteFile(chartFile(pageFile), []byte(svg), 0o600)
}

// chartFile returns the name of the chart: results.svg for RESULTS.md.
func chartFile(pageFile string) string {
	return strings.ToLower(strings.TrimSuffix(pageFile, ".md")) + ".svg"
}
