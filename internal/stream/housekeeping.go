package stream

import (
	"context"
	"time"
)

// RemoveIdle removes the group's consumers whose names match one of the Lua patterns, which own nothing and gave no sign of
// life for so long; for this one it is a sign of life. It returns their names.
func (g *Group) RemoveIdle(ctx context.Context, patterns []string, idle time.Duration) ([]string, error) {
	args := append(make([]any, 0, 3+len(patterns)), g.name, g.consumer, idle.Milliseconds())
	for _, pattern := range patterns {
		args = append(args, pattern)
	}
	removed, err := removeIdleScript.Run(ctx, g.shared, []string{g.key}, args...).StringSlice()
	if IsGroupGone(err) || isNoKey(err) {
		return nil, nil // so are its consumers
	}
	return removed, err
}

// trimPage bounds how long one call of the trim script keeps the server busy. Whole nodes of the stream are dropped, so that a
// call may end before it.
const trimPage = 10_000

// Trim drops from the stream what all of its groups have acknowledged, except for entries that are younger than
// age, and for the newest keep. It returns how many entries it dropped.
func (g *Group) Trim(ctx context.Context, age time.Duration, keep int64) (dropped int64, err error) {
	for {
		n, err := trimScript.Run(ctx, g.shared, []string{g.key}, age.Milliseconds(), keep, trimPage).Int64()
		if err != nil && !isNoKey(err) {
			return dropped, err
		}
		dropped += n
		if n < trimPage/2 {
			return dropped, nil
		}
	}
}
