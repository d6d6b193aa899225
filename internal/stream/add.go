package stream

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// AddRequest is one XADD, now or later: the caller sets what to add, and Add sets the result.
type AddRequest struct {
	Fields FieldList
	Key    *Key          // the stream; nil: that of the pipeline. With a Producer and with MaxAge it is that of the pipeline
	MaxLen int64         // approximate cap of the stream; 0: none
	MaxAge time.Duration // entries that are about this old are dropped, by the server's clock; 0: never. Not with MaxLen
	Later  *Later        // nil: now
	// DeduplicationKey is a key in the stream's slot. If it belongs to another request, this one is
	// not added. It needs a Producer; empty: none.
	DeduplicationKey string
	ID               string // empty: it is not added, or its ID is unknown
	Err              error

	minID    int64            // ms; older entries are dropped
	pipeline *Pipeline        // of its pipeline
	written  bool             // at least the start of the command
	last     *redis.StringCmd // the last command of this request
	item     *item            // nil: the pipeline has no Producer
}

// Key is the name of a stream. It is also kept as an argument, so that no command allocates one.
type Key struct {
	name     string
	argument any
}

// NewKey returns the Key of the stream with the given name.
func NewKey(name string) Key { return Key{name: name, argument: name} }

// Name returns the name.
func (k *Key) Name() string { return k.name }

// Adder adds entries to streams.
type Adder struct {
	client   redis.UniversalClient
	confirm  ReplicaWait
	topology *topology // nil: the client is none of a cluster
	clocks   clocks
}

// NewAdder returns an Adder on the client's pool. The client must be Supported if replicas are to
// confirm.
func NewAdder(client redis.UniversalClient, confirm ReplicaWait) *Adder {
	return &Adder{client: client, confirm: confirm, topology: newTopology(client)}
}

// once is a command that go-redis does not retry when its reply is lost: the entry may be in the
// stream, and the caller has to know that. In a cluster it still follows redirections.
type once struct{ *redis.StringCmd }

// NoRetry is part of redis.Cmder.
func (once) NoRetry() bool { return true }

// Add adds entries to the stream in order, in one round trip, and sets the result of each request.
// The pipeline can be withdrawn until it is on the wire; the caller ends ctx then, too.
func (a *Adder) Add(ctx context.Context, key Key, requests []*AddRequest, pipeline *Pipeline) {
	for _, request := range requests {
		request.pipeline, request.written = pipeline, false
	}
	if pipeline.Producer != nil {
		pipeline.Producer.number(requests, a.confirm.Replicas > 0)
	}
	if a.topology == nil {
		a.add(ctx, key, requests)
		return
	}
	stop := a.topology.refreshUntil(ctx)
	a.add(ctx, key, requests)
	stop()
	if slices.ContainsFunc(requests, func(request *AddRequest) bool { return elsewhere(request.Err) }) {
		a.topology.refreshAndWait(ctx)
	}
}

// elsewhere reports whether an error may come from a server that is no longer the master.
func elsewhere(err error) bool {
	if _, refused := errors.AsType[redis.Error](err); !refused {
		return err != nil
	}
	_, _, moved := redirection(err)
	return moved || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) || redis.IsMasterDownError(err) || redis.IsLoadingError(err)
}

// KnowsAge reports whether the server's time is known for the stream, so that the next entries can
// drop old ones.
func (a *Adder) KnowsAge(key string) bool { return a.clocks.known(key) }

// add is addOnce with MaxAge.
func (a *Adder) add(ctx context.Context, key Key, requests []*AddRequest) {
	age := requests[0].MaxAge
	if age == 0 {
		a.addItems(ctx, key, requests)
		return
	}
	minID := a.clocks.minID(key.name, age)
	for _, request := range requests {
		request.minID = minID
	}
	a.addItems(ctx, key, requests)
	if behind := behind(requests); len(behind) > 0 {
		a.clocks.forget(key.name)
		a.addItems(ctx, key, behind)
	}
	for _, request := range requests {
		if request.ID != "" && request.Later == nil {
			a.clocks.observe(key.name, request.ID)
		}
	}
}

// behind returns the requests whose entries dropped themselves. They are added again. This happens
// when the stream was created again on a server whose clock is behind the known time.
func behind(requests []*AddRequest) (list []*AddRequest) {
	for _, request := range requests {
		if request.ID != "" && request.Later == nil && isBefore(request.ID, request.minID) {
			request.minID = 0
			if request.item != nil {
				request.renew(request.item.scripted)
			}
			list = append(list, request)
		}
	}
	return list
}

func (a *Adder) addOnce(ctx context.Context, key Key, requests []*AddRequest) {
	if a.confirm.Replicas > 0 {
		a.addConfirmed(ctx, key, requests)
		return
	}
	if scripted(requests) {
		command := publishCommand(ctx, key, requests)
		err := a.process(ctx, command, longest(requests))
		settleScript(requests, command, err, nil)
		return
	}
	if len(requests) == 1 {
		command := requests[0].command(ctx, key)
		err := a.process(ctx, command, longest(requests))
		settle(requests, []once{command}, err, nil)
		return
	}
	pipe := a.client.Pipeline()
	commands := commandsOf(ctx, key, requests)
	for _, command := range commands {
		_ = pipe.Process(ctx, command) // only queues it
	}
	_, err := pipe.Exec(ctx)
	settle(requests, commands, err, nil)
}

func (a *AddRequest) command(ctx context.Context, key Key) once {
	if a.Later != nil {
		return a.schedule(ctx)
	}
	if a.Key != nil {
		key = *a.Key
	}
	var args []any
	switch {
	case a.item != nil:
		args = a.idempotent(key)
	case a.MaxLen > 0:
		args = a.Fields.command("xadd", key.argument, "maxlen", "~", a.MaxLen, (*newID)(a))
	case a.minID > 0:
		args = a.Fields.command("xadd", key.argument, "minid", "~", a.minID, (*newID)(a))
	default:
		args = a.Fields.command("xadd", key.argument, (*newID)(a))
	}
	a.last = redis.NewStringCmd(ctx, args...)
	return once{a.last}
}

// QueueAdd queues an XADD in a transaction of the caller. go-redis does not repeat the transaction
// when its reply is lost.
func QueueAdd(ctx context.Context, pipe redis.Pipeliner, key string, fields FieldList, maxLen int64) {
	head := []any{"xadd", key, "*"}
	if maxLen > 0 {
		head = []any{"xadd", key, "maxlen", "~", maxLen, "*"}
	}
	_ = pipe.Process(ctx, once{redis.NewStringCmd(ctx, fields.command(head...)...)}) // only queues it
}
