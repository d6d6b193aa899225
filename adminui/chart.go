package adminui

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrace/redisstream/admin"
)

// The size of a chart in its own units.
const (
	chartWidth, chartHeight = 600, 120
)

// chart is a picture of how one or two numbers changed, with a text that says the same.
type chart struct {
	Title  string
	Text   string // for those who don't see it
	Top    string // the value at the upper edge
	From   string // how long ago it begins
	Series []series
}

// series is a line of a chart.
type series struct {
	Name   string
	Class  string // the stroke: see app.css
	Now    string
	Points string // as of an SVG polyline
	Area   string // as of an SVG polygon; empty: no area
}

// curve is a number over time.
type curve struct {
	name, class string
	value       func(admin.Point) (float64, bool) // false: unknown
	show        func(float64) string
	area        bool
}

func is(v float64) (float64, bool) { return v, true }

func perSecond(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.1f/s", v)
	}
	return count(int64(v)) + "/s"
}

func whole(v float64) string { return count(int64(v)) }

// charts returns the charts of a group; none: there are not yet two points.
func charts(points []admin.Point) []chart {
	if len(points) < 2 {
		return nil
	}
	return []chart{
		draw("Rates", points,
			curve{"added", "first", func(p admin.Point) (float64, bool) { return is(p.Added) }, perSecond, false},
			curve{"handled", "second", func(p admin.Point) (float64, bool) { return is(max(p.Handled, 0)) }, perSecond, false}),
		lagChart(points),
		draw("Oldest unhandled", points,
			curve{"age", "first", func(p admin.Point) (float64, bool) { return is(p.Oldest.Seconds()) }, seconds, true}),
	}
}

func lagChart(points []admin.Point) chart {
	return draw("Lag", points,
		curve{"lag", "first", func(p admin.Point) (float64, bool) { return float64(p.Lag.N), p.Lag.Exact != admin.LagUnknown }, whole, true},
		curve{"pending", "second", func(p admin.Point) (float64, bool) { return is(float64(p.Pending)) }, whole, false})
}

func seconds(v float64) string { return age(time.Duration(v * float64(time.Second))) }

func draw(title string, points []admin.Point, curves ...curve) chart {
	first, last := points[0].Time, points[len(points)-1].Time
	span := max(last.Sub(first), time.Second)
	top := 0.0
	for _, c := range curves {
		for _, p := range points {
			if v, ok := c.value(p); ok {
				top = max(top, v)
			}
		}
	}
	drawn := chart{Title: title, Top: curves[0].show(top), From: age(span.Round(time.Second)) + " ago"}
	words := make([]string, 0, len(curves))
	for _, c := range curves {
		var line []string
		lowest, highest, now := 0.0, 0.0, "unknown"
		for _, p := range points {
			v, ok := c.value(p)
			if !ok {
				continue
			}
			if len(line) == 0 {
				lowest = v
			}
			lowest, highest, now = min(lowest, v), max(highest, v), c.show(v)
			x := float64(chartWidth) * float64(p.Time.Sub(first)) / float64(span)
			y := chartHeight - 2 - (chartHeight-4)*v/max(top, 1e-9)
			line = append(line, fmt.Sprintf("%.1f,%.1f", x, y))
		}
		s := series{Name: c.name, Class: c.class, Now: now, Points: strings.Join(line, " ")}
		if c.area && len(line) > 0 {
			start, _, _ := strings.Cut(line[0], ",")
			end, _, _ := strings.Cut(line[len(line)-1], ",")
			s.Area = fmt.Sprintf("%s,%d %s %s,%d", start, chartHeight, s.Points, end, chartHeight)
		}
		drawn.Series = append(drawn.Series, s)
		words = append(words, fmt.Sprintf("%s: now %s, between %s and %s", c.name, now, c.show(lowest), c.show(highest)))
	}
	drawn.Text = fmt.Sprintf("%s over the last %s. %s.", title, age(span.Round(time.Second)), strings.Join(words, "; "))
	return drawn
}
