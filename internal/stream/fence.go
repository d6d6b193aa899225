package stream

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// groupScript is a script that a consumer runs. An owner runs the fenced variant, which fails with
// ErrNotOwner, and changes nothing, if the consumer does not own the stream any more.
type groupScript struct{ plain, fenced *redis.Script }

// newGroupScript returns a script of several files, as newScript does.
func newGroupScript(names ...string) groupScript {
	return groupScript{newScript(names...), newScript(append([]string{"fence"}, names...)...)}
}

// fence keeps a consumer from changing anything in a stream that it does not own any more. It belongs
// to one generation. A nil fence is that of a consumer which shares the stream with others.
type fence struct {
	owner      *Ownership
	generation int64
	text       string // the generation, as scripts get it
}

func newFence(owner *Ownership) *fence {
	generation := owner.Generation()
	return &fence{owner, generation, strconv.FormatInt(generation, 10)}
}

// run runs a script, fenced if there is a fence.
func (f *fence) run(ctx context.Context, client redis.Scripter, script groupScript, keys []string, args []any) *redis.Cmd {
	if f == nil {
		return script.plain.Run(ctx, client, keys, args...)
	}
	keys = append(slices.Clip(keys), f.owner.key)
	reply := script.fenced.Run(ctx, client, keys, append(args, f.owner.consumer, f.text)...)
	reply.SetErr(f.seen(reply.Err()))
	return reply
}

// seen returns the error of a script as asNotOwner does. It ends the ownership if that is lost.
func (f *fence) seen(err error) error {
	err = asNotOwner(err)
	if errors.Is(err, ErrNotOwner) {
		f.owner.end(f.generation)
	}
	return err
}

// transactionTries bounds how often a transaction is tried: each renewal of the owner's lease may make
// one fail.
const transactionTries = 5

// transaction runs commands that are too large for a script in a transaction. If there is a fence, it
// is checked in the same step.
func (f *fence) transaction(ctx context.Context, client redis.UniversalClient, queue func(redis.Pipeliner) error) (err error) {
	if f == nil {
		_, err = client.TxPipelined(ctx, queue)
		return err
	}
	for range transactionTries {
		err = client.Watch(ctx, func(tx *redis.Tx) error {
			state, err := tx.HMGet(ctx, f.owner.key, "consumer", "generation").Result()
			if err != nil {
				return err
			}
			if state[0] != f.owner.consumer || state[1] != f.text {
				return f.seen(ErrNotOwner)
			}
			_, err = tx.TxPipelined(ctx, queue)
			return err
		}, f.owner.key)
		if !errors.Is(err, redis.TxFailedErr) {
			return err
		}
	}
	return err
}

// forTransactions returns what transaction needs.
func (f *fence) forTransactions(key string) []right {
	rights := forTransactions(key)
	if f != nil {
		rights = append(rights, on(f.owner.key, "watch"), right{"unwatch", key, []any{"unwatch"}})
	}
	return rights
}

// ownerAction is what a script does with the ownership of the stream.
type ownerAction string

const (
	ownerAsIs    ownerAction = ""
	keepOwner    ownerAction = "keep" // its lease is renewed
	releaseOwner ownerAction = "release"
)

// afterRelease returns what happens to the ownership when entries are released.
func (f *fence) afterRelease(release Release) ownerAction {
	switch {
	case f == nil || !release.Leaves:
		return ownerAsIs
	case len(release.Keep) > 0:
		return keepOwner
	default:
		return releaseOwner
	}
}

// wasReleased reports whether the reply to an earlier try of a release was lost.
func wasReleased(action ownerAction, err error) bool {
	return action == releaseOwner && errors.Is(err, errReleased)
}

// settled takes over the result of a script that was sent at a time.
func (f *fence) settled(action ownerAction, sent time.Time) {
	switch action {
	case ownerAsIs:
	case keepOwner:
		f.owner.begin(f.generation, sent)
	case releaseOwner:
		f.owner.end(f.generation)
	}
}
