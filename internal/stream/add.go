package stream

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Addition is one XADD: its entry before the call, its outcome after.
type Addition struct {
	Fields []any         // name, value, name, value
	MaxLen int64         // approximate cap of the stream; 0: none
	MaxAge time.Duration // about when entries are dropped; 0: never. Not with MaxLen
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
type Adder struct {
	client  redis.UniversalClient
	confirm Confirmation
	reload  *reloader // nil: the client is none of a cluster
}

// NewAdder returns an Adder on the client's pool, which must be Supported if replicas are to confirm.
func NewAdder(client redis.UniversalClient, confirm Confirmation) *Adder {
	return &Adder{client: client, confirm: confirm, reload: newReloader(client)}
}

// once is a command that go-redis does not send again behind our back when its reply was lost: the entry may
// be there, and the caller is told so. In a cluster it still follows redirections.
type once struct{ *redis.StringCmd }

// NoRetry is part of redis.Cmder.
func (once) NoRetry() bool { return true }

// Add adds entries to the stream in order, in one round trip, and sets the outcome of each.
func (a *Adder) Add(ctx context.Context, key string, additions []*Addition) {
	if a.reload == nil {
		a.add(ctx, key, additions)
		return
	}
	stop := a.reload.watch(ctx)
	a.add(ctx, key, additions)
	stop()
	if slices.ContainsFunc(additions, func(addition *Addition) bool { return elsewhere(addition.Err) }) {
		a.reload.await(ctx)
	}
}

// elsewhere reports whether an error may be that of a server that is no longer the master.
func elsewhere(err error) bool {
	if _, refused := errors.AsType[redis.Error](err); !refused {
		return err != nil
	}
	_, _, moved := redirection(err)
	return moved || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) || redis.IsMasterDownError(err) || redis.IsLoadingError(err)
}

func (a *Adder) add(ctx context.Context, key string, additions []*Addition) {
	if a.confirm.Replicas > 0 {
		a.addConfirmed(ctx, key, additions)
		return
	}
	if len(additions) == 1 {
		additions[0].Err = a.client.Process(ctx, additions[0].command(ctx, key))
		return
	}
	pipe := a.client.Pipeline()
	commands := make([]once, len(additions))
	for i, addition := range additions {
		commands[i] = addition.command(ctx, key)
		_ = pipe.Process(ctx, commands[i]) // only queues it
	}
	_, err := pipe.Exec(ctx)
	settle(additions, commands, err)
}

// settle sets the outcome of each addition from its command and the error of the pipeline.
func settle(additions []*Addition, commands []once, err error) {
	for i, addition := range additions {
		// When the connection breaks, go-redis sets the error of commands that have their reply too.
		addition.Err = nil
		if commands[i].Val() == "" {
			addition.Err = cmp.Or(commands[i].Err(), err, errNoReply)
		}
	}
}

var errNoReply = errors.New("no reply")

func (a *Addition) command(ctx context.Context, key string) once {
	args := make([]any, 0, 6+len(a.Fields))
	args = append(args, "xadd", key)
	if a.MaxLen > 0 {
		args = append(args, "maxlen", "~", a.MaxLen)
	}
	if a.MaxAge > 0 {
		args = append(args, "minid", "~", time.Now().Add(-a.MaxAge).UnixMilli())
	}
	args = append(args, "*")
	return once{redis.NewStringCmd(ctx, append(args, a.Fields...)...)}
}
