package stream

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
	"github.com/redis/go-redis/v9"
)

const (
	settleTries = 10
	// settlePause is the pause after the first failure, longestSettle the longest one.
	settlePause   = 10 * time.Millisecond
	longestSettle = 500 * time.Millisecond
)

// DeadLetters are the dead letters of one stream. Other streams may share the dead-letter stream.
type DeadLetters struct {
	client redis.UniversalClient
	from   string // the dead-letter stream
	to     string // the stream that they came from
	origin string // the field that names it; a dead letter without that field belongs to it too
	prefix string // of the names of fields that describe the dead letter
}

// NewDeadLetters returns the dead letters in the stream from that came from the stream to. The
// field origin names the stream that a dead letter came from; fields whose names begin with prefix
// describe the dead letter.
func NewDeadLetters(client redis.UniversalClient, from, to, origin, prefix string) *DeadLetters {
	return &DeadLetters{client: client, from: from, to: to, origin: origin, prefix: prefix}
}

// DeadLetterAction is an operation on dead letters.
type DeadLetterAction int

// The actions. Each needs the rights of those before it, but for those on retry queues.
const (
	ReadDeadLetters DeadLetterAction = iota
	DropDeadLetters
	RetryDeadLetters
	ReplayDeadLetters
)

// CheckRights returns an error that names the rights that the user lacks for an action. If only the
// last step of a move were refused, each attempt would add the dead letter to the stream once more.
func (l *DeadLetters) CheckRights(ctx context.Context, action DeadLetterAction) error {
	rights := append(toRunScripts(l.from), on(l.from, "xrange", "-", "+"), on(l.from, "xrevrange", "+", "-"))
	if action >= DropDeadLetters {
		rights = append(rights, on(l.from, "xdel", "0-0"))
	}
	if action == ReplayDeadLetters {
		rights = append(rights, on(l.to, "xadd", "*", "", ""), on(l.to, "xrevrange", "+", "-"))
	}
	return check(ctx, l.client, l.from, rights)
}

const errTooManyToRetry = ownError("an entry with more than 3,450 fields can't be put into a retry queue; replay it")

// Replay moves a dead letter to the end of the stream that it came from, in one step. It reports
// whether this call moved it.
func (l *DeadLetters) Replay(ctx context.Context, id string) (bool, error) {
	return l.move(ctx, id, []string{l.from, l.to})
}

// Drop deletes a dead letter, and reports whether this call deleted it.
func (l *DeadLetters) Drop(ctx context.Context, id string) (bool, error) {
	return l.move(ctx, id, []string{l.from})
}

// Retry moves a dead letter into the retry queue of the group that gave it up, in one step. It
// reports whether this call moved it. entry is the ID that its entry had.
func (l *DeadLetters) Retry(ctx context.Context, id, queue, entry string) (bool, error) {
	return untilKnown(ctx, func() (int, error) {
		keys := append([]string{l.from}, retryKeys(queue)...)
		n, err := retryLetterScript.Run(ctx, onceScripter{l.client}, keys, id, l.prefix, entry).Int()
		if err == nil && n == tooLarge {
			err = errTooManyToRetry
		}
		return n, err
	})
}

func (l *DeadLetters) move(ctx context.Context, id string, keys []string) (bool, error) {
	return untilKnown(ctx, func() (int, error) {
		n, err := replayScript.Run(ctx, onceScripter{l.client}, keys, id, l.origin, l.to, l.prefix).Int()
		if err == nil && n == tooLarge {
			n, err = l.replayLarge(ctx, id)
		}
		return n, err
	})
}

// untilKnown retries until the result of a move is known. If a reply was lost and the dead letter is
// gone, the attempt without a reply succeeded.
func untilKnown(ctx context.Context, move func() (int, error)) (bool, error) {
	uncertain := false
	for try := 1; ; try++ {
		n, err := move()
		if err == nil {
			return n == 1 || uncertain, nil
		}
		final := IsNotApplied(err) && !IsRetryable(err) && !errors.Is(err, redis.TxFailedErr)
		if final || try == settleTries {
			return false, err
		}
		uncertain = uncertain || !IsNotApplied(err)
		timer := time.NewTimer(backoff.Exponential(settlePause, longestSettle, try))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

// replayLarge moves a dead letter with thousands of fields, which goes through this process. It
// fails if the dead letters change in between: another process may have moved it.
func (l *DeadLetters) replayLarge(ctx context.Context, id string) (moved int, err error) {
	rights := append(forTransactions(l.from), on(l.from, "watch"), right{"unwatch", l.from, []any{"unwatch"}})
	if err := check(ctx, l.client, l.from, rights); err != nil {
		return 0, err
	}
	err = l.client.Watch(ctx, func(tx *redis.Tx) error {
		page, err := readPage(ctx, tx, l.from, Span{From: id, To: id})
		if err != nil || len(page.entries) == 0 {
			return err
		}
		own := l.ownFields(page.entries[0])
		if len(own) == 0 {
			return nil
		}
		add := once{redis.NewStringCmd(ctx, append([]any{"xadd", l.to, "*"}, own...)...)}
		remove := redis.NewCmd(ctx, "eval", replayDeleteSource, 2, l.from, l.to, id, len(own), own[len(own)-1])
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			return errors.Join(pipe.Process(ctx, add), pipe.Process(ctx, remove)) // only queues them
		})
		if err != nil {
			return err
		}
		moved, err = remove.Int()
		return err
	}, l.from)
	return moved, err
}

// ownFields returns the fields that the dead letter had in its stream.
func (l *DeadLetters) ownFields(deadLetter Stored) (own []any) {
	for i := 0; i+1 < len(deadLetter.Fields); i += 2 {
		if name, _ := deadLetter.Fields[i].(string); !strings.HasPrefix(name, l.prefix) {
			own = append(own, deadLetter.Fields[i], deadLetter.Fields[i+1])
		}
	}
	return own
}

// onceScripter runs scripts that go-redis does not retry when their reply is lost.
type onceScripter struct{ redis.UniversalClient }

type onceCmd struct{ *redis.Cmd }

// NoRetry is part of redis.Cmder.
func (onceCmd) NoRetry() bool { return true }

// EvalSha is part of redis.Scripter.
func (s onceScripter) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return s.run(ctx, "evalsha", sha, keys, args)
}

// Eval is part of redis.Scripter.
func (s onceScripter) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return s.run(ctx, "eval", script, keys, args)
}

func (s onceScripter) run(ctx context.Context, name, script string, keys []string, args []any) *redis.Cmd {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, name, script, len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	command := redis.NewCmd(ctx, append(words, args...)...)
	_ = s.Process(ctx, onceCmd{command}) // its error is the command's
	return command
}
