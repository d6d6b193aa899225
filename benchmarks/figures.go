package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// unit is the unit of a figure. It decides the format, and whether more is better.
type unit int

const (
	perSecond     unit = iota // more is better; for the other units less is
	perSecondLess             // a cost
	duration                  // in seconds
	count
	mebibytes
)

func (u unit) String() string { return [...]string{"/s", "/s", "", "", " MiB"}[u] }

// write formats a figure with about three digits.
func (u unit) write(figure float64) string {
	switch {
	case math.IsInf(figure, 1):
		return "gave up"
	case u == duration:
		return roundDuration(figure).String()
	case figure < 10 && figure != math.Trunc(figure):
		return strconv.FormatFloat(figure, 'f', 2, 64) + u.String()
	default:
		return groupThousands(int64(math.Round(figure))) + u.String()
	}
}

func roundDuration(seconds float64) time.Duration {
	d := time.Duration(seconds * float64(time.Second))
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

func groupThousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%s,%03d", groupThousands(n/1000), n%1000)
}

// percentile returns the p-th percentile in seconds. It sorts the durations.
func percentile(durations []time.Duration, p int) float64 {
	slices.Sort(durations)
	return durations[min(len(durations)*p/100, len(durations)-1)].Seconds()
}

// median returns the median; of an even number of figures, the larger middle one.
func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	return sorted[len(sorted)/2]
}
