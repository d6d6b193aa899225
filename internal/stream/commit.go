package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/redisstream/internal/backoff"
	"github.com/redis/go-redis/v9"
)

// CommitResult is the outcome of Commit.
type CommitResult int

// The results of Commit.
const (
	CommitFailed    CommitResult = iota // nothing is changed; the error says why
	CommitDone                          // the commands were run, and the entry is acknowledged
	CommitNotHeld                       // nothing is changed: another consumer has the entry, or it was acknowledged before
	CommitSettled                       // a reply was lost, and the entry is acknowledged: by this call, or by another consumer
	CommitUncertain                     // no reply: the commands may have been run, or may be run later; the error says why
)

// CommandsError is the error of Commit when commands failed after others had an effect.
type CommandsError struct {
	Failed []redis.Cmder
	of     int // how many there were
}

// Error counts the commands and has the first of their errors.
func (e *CommandsError) Error() string {
	first := e.Failed[0]
	return fmt.Sprintf("%d of %d commands failed after others had an effect; the first: %s: %v", len(e.Failed), e.of, first.Name(), first.Err())
}

// What the script commit.lua returns first.
const (
	commitRefused    = -2
	commitTaken      = -1
	commitNotPending = 0
)

// Commit runs the commands of a Transaction and acknowledges the entry, in one step, if this
// consumer owns it. It tries again while no reply comes: the script runs the commands at most once.
// earlier is set if an earlier Commit of the entry was uncertain.
func (g *Group) Commit(ctx context.Context, id string, t *Transaction, earlier bool) (CommitResult, error) {
	take := g.retries.takeOf(id)
	result, err := g.commit(ctx, id, take != 0, t, earlier)
	switch result {
	case CommitDone, CommitSettled, CommitNotHeld:
		g.retries.forgetTake(id, take)
	case CommitFailed, CommitUncertain:
	}
	return result, err
}

func (g *Group) commit(ctx context.Context, id string, queued bool, t *Transaction, earlier bool) (CommitResult, error) {
	keys := []string{g.key}
	if queued {
		keys = append(keys, g.retries.keys...)
	}
	keys = append(keys, t.keys...)
	args := []any{g.name, g.consumer, id, flag(queued)}
	for _, words := range t.words {
		args = append(append(args, len(words)), words...)
	}
	uncertain := earlier
	for try := 1; ; try++ {
		reply, err := g.fence.run(ctx, onceScripter{g.shared.UniversalClient}, commitScript, keys, args).Slice()
		switch {
		case err == nil:
			return t.result(reply, uncertain)
		case IsGroupGone(err): // nothing is pending without it
			return t.result([]any{int64(commitNotPending)}, uncertain)
		case errors.Is(err, ErrNotOwner) && !uncertain:
			return CommitNotHeld, nil
		case IsNotApplied(err) && !IsRetryable(err), try == settleTries:
			return failedCommit(uncertain || !IsNotApplied(err)), err
		}
		uncertain = uncertain || !IsNotApplied(err)
		timer := time.NewTimer(backoff.Exponential(settlePause, longestSettle, try))
		select {
		case <-ctx.Done():
			timer.Stop()
			return failedCommit(uncertain), errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

func failedCommit(uncertain bool) CommitResult {
	if uncertain {
		return CommitUncertain
	}
	return CommitFailed
}

// result reads the reply of the script.
func (t *Transaction) result(reply []any, uncertain bool) (CommitResult, error) {
	code, failures := int64(commitNotPending), []any(nil)
	if len(reply) > 0 {
		code, _ = reply[0].(int64)
		failures = reply[1:]
	}
	switch {
	case code == commitTaken:
		return CommitNotHeld, nil
	case code == commitNotPending && uncertain:
		return CommitSettled, nil
	case code == commitNotPending:
		return CommitNotHeld, nil
	}
	failed := t.failed(failures)
	switch {
	case code == commitRefused && len(failed) > 0:
		return failedCommit(uncertain), fmt.Errorf("%s: %w", failed[0].Name(), failed[0].Err())
	case len(failed) > 0:
		return CommitDone, &CommandsError{failed, t.Len()}
	default:
		return CommitDone, nil
	}
}

// failed sets the errors of commands that failed, and returns them.
func (t *Transaction) failed(pairs []any) (failed []redis.Cmder) {
	commands := t.Cmds()
	for i := 0; i+1 < len(pairs); i += 2 {
		place, _ := pairs[i].(int64)
		text, _ := pairs[i+1].(string)
		command := redis.Cmder(redis.NewCmd(context.Background(), "xack"))
		if int(place) < len(commands) {
			command = commands[place]
		}
		command.SetErr(Redact(ownError(strings.TrimSuffix(text, "\r\n"))))
		failed = append(failed, command)
	}
	return failed
}
