package stream

import (
	"context"
	_ "embed"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/extent.lua
	extentSource string
	extentScript = redis.NewScript(extentSource)
)

// Extent is what the server says of a stream as a whole.
type Extent struct {
	Added  int64  // entries that were ever added; 0: unknown
	Length int64  // entries that are there
	First  string // the oldest entry; empty: none
	Last   string // the newest ID ever, be its entry there or not
}

// Extent asks for the stream's extent (XINFO STREAM).
func (g *Group) Extent(ctx context.Context) (Extent, error) {
	var reply []any
	err := g.do(ctx, 0, func(ctx context.Context, c *redis.Client) (err error) {
		reply, err = extentScript.Run(ctx, c, []string{g.key}).Slice()
		return err
	})
	if err != nil || len(reply) < 4 {
		return Extent{}, err
	}
	var e Extent
	e.Added, _ = reply[0].(int64)
	e.Length, _ = reply[1].(int64)
	e.First, _ = reply[2].(string)
	e.Last, _ = reply[3].(string)
	return e, nil
}
