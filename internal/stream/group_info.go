package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// GroupInfo describes the group as a whole.
type GroupInfo struct {
	Consumers     int64  // of the group, also those that died and were not removed yet
	Pending       int64  // pending entries of all consumers
	LastDelivered string // the newest entry that was delivered
	Read          int64  // entries delivered, of all that were ever added; below 0: unknown
	Lag           int64  // entries not delivered yet; below 0: unknown
	Delayed       bool   // the stream may have delayed messages, which this consumer may move
	Retries       bool   // the retry queue may have entries, which this consumer may take
	Paused        bool   // the group is paused, and the user may know it
}

// GroupInfo returns the group's state (XINFO GROUPS and up to two EXISTS, in one round trip). The reply of
// go-redis does not distinguish 0 entries read from an unknown number.
func (g *Group) GroupInfo(ctx context.Context) (info GroupInfo, err error) {
	err = g.onPrivate(ctx, 0, func(ctx context.Context, c privateClient) error {
		pipe := c.Pipeline()
		groups := pipe.Do(ctx, "xinfo", "groups", g.key)
		others := g.otherKeys()
		exist := redis.NewIntCmd(ctx, append([]any{"exists"}, others...)...)
		if len(others) > 0 {
			_ = pipe.Process(ctx, exist) // only queues it
		}
		paused := redis.NewIntCmd(ctx, "exists", g.pause)
		if g.pause != "" {
			_ = pipe.Process(ctx, paused) // only queues it
		}
		_, err := pipe.Exec(ctx)
		if groups.Err() == nil || isNoKey(groups.Err()) {
			info, err = g.infoOf(groups)
			info.Delayed = exist.Val() > 0 && g.delayed != ""
			info.Retries = exist.Val() > 0 && g.retries.keys != nil
			info.Paused, _ = g.sawPause(paused) // an error of the connection is one of groups, too
		}
		return err
	})
	return info, err
}

// IsPaused reports whether the group is paused (EXISTS). It is not, if the user may not know it. If
// the server refuses to answer, because the slot is being moved, the last answer holds.
func (g *Group) IsPaused(ctx context.Context) (paused bool, err error) {
	if g.pause == "" {
		return false, nil
	}
	err = g.onPrivate(ctx, 0, func(ctx context.Context, c privateClient) error {
		paused, err = g.sawPause(c.Exists(ctx, g.pause))
		return err
	})
	return paused, err
}

// sawPause returns what a reply to EXISTS says of the pause.
func (g *Group) sawPause(reply *redis.IntCmd) (paused bool, err error) {
	n, err := reply.Result()
	_, refused := errors.AsType[redis.Error](err)
	switch {
	case err == nil:
		g.paused = n > 0
	case redis.HasErrorPrefix(err, "NOPERM"):
		g.paused = false
	case !refused:
		return g.paused, err
	}
	return g.paused, nil
}

// CanBePaused reports whether the user may look at the key that pauses the group. CheckRights finds
// it out.
func (g *Group) CanBePaused() bool { return g.pause != "" }

// otherKeys returns the keys of entries that come to the group later.
func (g *Group) otherKeys() (keys []any) {
	if g.delayed != "" {
		keys = append(keys, g.delayed)
	}
	if g.retries.keys != nil {
		keys = append(keys, g.retries.keys[0])
	}
	return keys
}

// infoOf finds the group in the reply to XINFO GROUPS.
func (g *Group) infoOf(reply *redis.Cmd) (GroupInfo, error) {
	groups, _ := reply.Slice() // none without the stream
	for _, group := range groups {
		if fields := fieldsOf(group); fields["name"] == g.name {
			last, _ := fields["last-delivered-id"].(string)
			return GroupInfo{
				Consumers: number(fields["consumers"]), Pending: max(number(fields["pending"]), 0), LastDelivered: last,
				Read: number(fields["entries-read"]), Lag: number(fields["lag"]),
			}, nil
		}
	}
	return GroupInfo{}, fmt.Errorf("stream %q: %w", g.key, errNoGroup)
}

// fieldsOf returns the fields of an element of a reply: a map in RESP 3, a list in RESP 2.
func fieldsOf(element any) map[any]any {
	switch e := element.(type) {
	case map[any]any:
		return e
	case []any:
		fields := make(map[any]any, len(e)/2)
		for i := 0; i+1 < len(e); i += 2 {
			fields[e[i]] = e[i+1]
		}
		return fields
	default:
		return nil
	}
}

func number(value any) int64 {
	if n, ok := value.(int64); ok {
		return n
	}
	return -1
}
