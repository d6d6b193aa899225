package stream

import (
	"context"
	"fmt"
)

// GroupInfo is what the group says of itself.
type GroupInfo struct {
	Pending       int64  // entries handed out to any consumer and not acknowledged
	LastDelivered string // the newest entry handed out
	Read          int64  // entries handed out, of all that were ever added to the stream; below 0: unknown
	Lag           int64  // entries still to be handed out; below 0: unknown
}

// GroupInfo asks for the group's state (XINFO GROUPS). go-redis's own reply does not tell 0 entries read from an unknown number.
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

// fieldsOf returns the fields of an element of a reply, which RESP 3 has as a map and RESP 2 as a list.
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
