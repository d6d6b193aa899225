package stream

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Addition is one XADD: its entry before the call, its outcome after.
type Addition struct {
	Fields []any // name, value, name, value
	MaxLen int64 // approximate cap of the stream; 0: none
	Err    error
}

// FieldList orders fields by name: with the same order in every entry, the server stores the
// names once a node of the stream instead of once an entry.
func FieldList(fields map[string]any) []any {
	list := make([]any, 0, 2*len(fields))
	names := make([]string, 0, 8)
	for name := range fields {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	for _, name := range names {
		list = append(list, name, fields[name])
	}
	return list
}

// Adder adds entries to streams.
type Adder struct{ client redis.UniversalClient }

// NewAdder returns an Adder on the client's pool. A command whose reply was lost is not sent
// again behind our back, as go-redis would: the entry may be there, and the caller is told so. (A
// cluster client follows redirections in the same loop, which can't be parted.)
func NewAdder(client redis.UniversalClient) *Adder {
	if single, ok := client.(*redis.Client); ok {
		shared := single.Options()
		once := single.WithTimeout(shared.ReadTimeout) // has a copy of the options, and the same pool
		once.Options().WriteTimeout = shared.WriteTimeout
		once.Options().MaxRetries = 0
		client = once
	}
	return &Adder{client: client}
}

// Add adds entries to the stream in order, in one round trip, and sets the outcome of each.
func (a *Adder) Add(ctx context.Context, key string, additions []*Addition) {
	if len(additions) == 1 {
		additions[0].Err = a.client.XAdd(ctx, additions[0].args(key)).Err()
		return
	}
	pipe := a.client.Pipeline()
	commands := make([]*redis.StringCmd, len(additions))
	for i, addition := range additions {
		commands[i] = pipe.XAdd(ctx, addition.args(key))
	}
	_, err := pipe.Exec(ctx)
	for i, addition := range additions {
		addition.Err = commands[i].Err()
		if addition.Err == nil && commands[i].Val() == "" {
			addition.Err = cmp.Or(err, errNoReply)
		}
	}
}

var errNoReply = errors.New("no reply")

func (a *Addition) args(key string) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: key, MaxLen: a.MaxLen, Approx: a.MaxLen > 0, Values: a.Fields}
}

// NotApplied reports whether an error proves that its command did nothing: the server refused
// it, or it never went out.
func NotApplied(err error) bool {
	var refused redis.Error
	var network *net.OpError
	switch {
	case errors.As(err, &refused):
		return true
	case errors.As(err, &network) && network.Op == "dial":
		return true
	default:
		return errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
	}
}
