package stream

import (
	"context"
	_ "embed"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/replay.lua
	replaySource string
	replayScript = redis.NewScript(replaySource)
)

const replayPage = 100

// Replay moves the oldest entries of a stream to the end of another, without the fields whose names begin with the
// prefix, each in one step, and none that comes meanwhile. It returns how many it moved.
func Replay(ctx context.Context, client redis.UniversalClient, from, to, prefix string, limit int) (moved int, err error) {
	// Refused only then, the last step of a move would leave the entry in both streams, once more with each call.
	rights := append(toRunScripts(from),
		on(from, "xrange", "-", "+"), on(from, "xrevrange", "+", "-"), on(to, "xadd", "*", "", ""), on(from, "xdel", "0-0"))
	if _, err := check(ctx, client, from, rights); err != nil {
		return 0, err
	}
	newest, err := client.XRevRangeN(ctx, from, "+", "-", 1).Result()
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	for start := "-"; moved < limit; {
		entries, err := client.XRangeN(ctx, from, start, newest[0].ID, int64(min(limit-moved, replayPage))).Result()
		if err != nil || len(entries) == 0 {
			return moved, err
		}
		for _, e := range entries {
			n, err := replayScript.Run(ctx, client, []string{from, to}, e.ID, prefix).Int()
			if err != nil {
				return moved, err
			}
			moved += n
			start = After(e.ID)
		}
	}
	return moved, nil
}
