package text

import (
	"fmt"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Age returns a duration in at most two units, such as "12ms", "5m34s", "3h" or "2d4h".
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Age(-d)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return pair(d, time.Second, "s", 0, "")
	case d < time.Hour:
		return pair(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return pair(d, time.Hour, "h", time.Minute, "m")
	default:
		return pair(d, day, "d", time.Hour, "h")
	}
}

func pair(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	out := fmt.Sprintf("%d%s", d/large, largeName)
	if small > 0 && d%large >= small {
		out += fmt.Sprintf("%d%s", d%large/small, smallName)
	}
	return out
}

// ParseDuration is time.ParseDuration with days, as in "2d12h".
func ParseDuration(s string) (time.Duration, error) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		return time.ParseDuration(s)
	}
	// The hours of the days, as a text, keep the checks of ParseDuration.
	hours, err := time.ParseDuration(days + "h")
	if err != nil || hours > 1<<63/24-1 {
		return 0, fmt.Errorf("invalid duration %q", s) //nolint:err113 // as time.ParseDuration
	}
	if rest == "" {
		return 24 * hours, nil
	}
	further, err := time.ParseDuration(rest)
	if err != nil {
		return 0, fmt.Errorf("invalid duration %q", s)
	}
	return 24*hours + further, nil
}

// ParseTime reads a time: RFC 3339, or "2006-01-02 15:04:05", "2006-01-02 15:04" or "2006-01-02" in
// UTC.
func ParseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as 2006-01-02T15:04:05Z or \"2006-01-02 15:04\" (UTC)", s)
}

// Time returns a time in UTC, to the millisecond; of the zero time nothing.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
