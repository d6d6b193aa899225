package stream

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// ExpiringKeys are keys that belong to their first owner for a window.
type ExpiringKeys struct {
	Client redis.UniversalClient
	Window time.Duration
}

// Claim makes the key belong to owner, if it belongs to nobody. It reports whether it belongs to
// another one. A claim can be repeated, as go-redis does when its reply is lost.
func (k ExpiringKeys) Claim(ctx context.Context, key, owner string) (other bool, err error) {
	command := redis.NewStringCmd(ctx, "set", key, owner, "nx", "get", "px", max(k.Window.Milliseconds(), 1))
	_ = k.Client.Process(ctx, command) // its error is the command's
	before, err := command.Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil && before != owner, err
}
