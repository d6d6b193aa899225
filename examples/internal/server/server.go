// Package server gives each example a Redis server: the one at REDIS_URL, or an embedded one.
package server

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/alicebob/miniredis/v2"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// Open returns a client of the server, and a function that closes both. It prints to out which
// server it is.
func Open(ctx context.Context, out io.Writer) (redis.UniversalClient, func(), error) {
	if url := os.Getenv("REDIS_URL"); url != "" {
		client, err := redisstream.Connect(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintln(out, "Using the server that REDIS_URL names.")
		return client, func() { _ = client.Close() }, nil
	}

	embedded, err := miniredis.Run()
	if err != nil {
		return nil, nil, fmt.Errorf("start an embedded server: %w", err)
	}
	client, err := redisstream.Connect(ctx, "redis://"+embedded.Addr())
	if err != nil {
		embedded.Close()
		return nil, nil, err
	}
	fmt.Fprintln(out, "Using an embedded server. Set REDIS_URL to use another.")
	return client, func() {
		_ = client.Close()
		embedded.Close()
	}, nil
}
