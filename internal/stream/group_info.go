package stream

import (
	"context"
	"fmt"
)

// GroupInfo describes the group as a whole.
type GroupInfo struct {
	Pending       int64  // pending entries of all consumers
	LastDelivered string // the newest entry that was delivered
	Read          int64  // entries delivered, of all that were ever added; below 0: unknown
	Lag           int64  // entries not delivered yet; below 0: unknown
}

// GroupInfo returns the group's state (XINFO GROUPS). The reply of go-redis does not distinguish 0
// entries read from an unknown number.
func (g *Group) GroupInfo(ctx context.Context) (GroupInfo, error) {
	var groups []any
	err := g.onPrivate(ctx, 0, func(ctx context.Context, c privateClient) (err error) {
		groups, err = c.Do(ctx, "xinfo", "groups", g.key).Slice()
		return err
	})
	if err != nil && !isNoKey(err) {
		return GroupInfo{}, err
	}
	for _, group := range groups {
		if fields := fieldsOf(group); fields["name"] == g.name {
			last, _ := fields["last-delivered-id"].(string)
			return GroupInfo{
				Pending: max(number(fields["pending"]), 0), LastDelivered: last,
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
