package stream

import (
	"context"
	"time"
)

// RemoveIdle removes idle consumers of the group: those that own nothing, had no activity for the
// given time, and whose names match one of the Lua patterns. For this consumer, the call counts as
// activity. Their member records are deleted, too. It returns the names of the removed consumers.
func (g *Group) RemoveIdle(ctx context.Context, patterns []string, idle time.Duration) ([]string, error) {
	args := append(make([]any, 0, 3+len(patterns)), g.name, g.consumer, idle.Milliseconds())
	for _, pattern := range patterns {
		args = append(args, pattern)
	}
	removed, err := removeIdleScript.Run(ctx, g.shared, g.withMembers(), args...).StringSlice()
	if IsGroupGone(err) || isNoKey(err) {
		return nil, nil // without a group there are no consumers
	}
	return removed, err
}

// trimPage bounds how long one call of the trim script blocks the server. The script drops whole
// nodes of the stream, so it may drop fewer entries.
const trimPage = 10_000

// Trim drops from the stream what all of its groups have acknowledged, except for entries that are
// younger than age, and the newest keep. It returns how many entries it dropped.
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
