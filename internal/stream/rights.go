package stream

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// right is a command on a key that a user needs. The first word may be a container such as xgroup.
type right struct {
	name  string // as ACL SETUSER has it, without the plus
	key   string
	words []any
}

// on returns the right to a command whose first argument is the key.
func on(key, name string, args ...any) right {
	command, sub, contained := strings.Cut(name, "|")
	words := []any{command}
	if contained {
		words = append(words, sub)
	}
	return right{name, key, append(append(words, key), args...)}
}

// toRunScripts returns what each script needs. EVAL is needed because a server that restarted has
// lost the scripts.
func toRunScripts(key string, others ...string) []right {
	keys := make([]any, 0, 2+len(others))
	keys = append(keys, 1+len(others), key)
	for _, other := range others {
		keys = append(keys, other)
	}
	return []right{
		{"eval", key, append([]any{"eval", "return"}, keys...)},
		{"evalsha", key, append([]any{"evalsha", "sha"}, keys...)},
	}
}

// forTransactions returns what it takes to move an entry with thousands of fields. That is rare, so
// it is checked only then.
func forTransactions(key string) []right {
	return []right{{"multi", key, []any{"multi"}}, {"exec", key, []any{"exec"}}}
}

// RequiredRights is what a consumer does beyond reading.
type RequiredRights struct {
	DeadLetters   string        // the stream that takes them; empty: none
	Removed       bool          // the consumer is removed when it leaves
	RemovesOthers bool          // RemoveIdle
	Trims         bool          // Trim
	Watches       bool          // it shares its connections
	Delayed       string        // its delayed messages, which others move if the user may not
	RetryQueue    string        // the retry queue of the group, which is not used if the user may not; empty: none
	Lease         time.Duration // of an entry that is taken from it
	Pause         string        // the key that pauses the group, which has no effect if the user may not look at it; empty: none
	Owner         string        // the owner key, if the consumer owns the stream; empty: not needed
	Members       string        // the hash of the group's member records, which are not written if the user may not; empty: none
}

func toAskTheTime(key string) right { return right{"time", key, []any{"time"}} }

// toMoveDelayed returns what it takes to move delayed messages.
func toMoveDelayed(delayed, key string) []right {
	return append(
		toRunScripts(delayed, key),
		on(delayed, "exists"), on(delayed, "zrangebyscore", "-inf", 0), on(delayed, "zrange", 0, 0), on(delayed, "zrem", ""),
		on(delayed, "zadd", 0, ""), toAskTheTime(delayed), on(key, "xadd", "*", "", ""),
	)
}

// toUseRetryQueue returns what it takes to put entries into a retry queue and to take them.
func toUseRetryQueue(queue, key string) []right {
	if queue == "" {
		return nil
	}
	entries := retryKeys(queue)[1]
	return append(
		toRunScripts(queue, entries, key),
		on(queue, "exists"), on(queue, "zrangebyscore", "-inf", 0), on(queue, "zrange", 0, 0), on(queue, "zrem", ""), on(queue, "zadd", 0, ""),
		on(entries, "hget", ""), on(entries, "hmget", ""), on(entries, "hset", "", ""), on(entries, "hdel", ""),
		on(key, "xrange", "-", "+"), toAskTheTime(queue),
	)
}

// toReport returns what it takes to write and delete member records.
func toReport(members, key string) []right {
	if members == "" {
		return nil
	}
	return append(
		toRunScripts(members, key),
		on(members, "hset", "", ""), on(members, "pexpire", 1), on(members, "hdel", ""), toAskTheTime(members),
	)
}

// toOwn returns what it takes to own a stream.
func toOwn(owner, key string) []right {
	if owner == "" {
		return nil
	}
	return append(
		toRunScripts(owner, key),
		on(owner, "hmget", ""), on(owner, "hset", "", ""), on(owner, "pexpire", 1), toAskTheTime(owner),
	)
}

func toLookForAPause(key string) []right {
	if key == "" {
		return nil
	}
	return []right{on(key, "exists")}
}

// CheckRights returns an error that names the commands that the consumer will run, also at Close,
// but that the user may not run.
func (g *Group) CheckRights(ctx context.Context, needs RequiredRights) error {
	rights := append(toRunScripts(g.key),
		right{"xreadgroup", g.key, []any{"xreadgroup", "group", g.name, g.consumer, "streams", g.key, ">"}},
		on(g.key, "xgroup|create", g.name, "0"),
		on(g.key, "xgroup|createconsumer", g.name, Recreated),
		on(g.key, "xgroup|setid", g.name, "0"),
		on(g.key, "xinfo|consumers", g.name),
		on(g.key, "xinfo|stream"),
		on(g.key, "xinfo|groups"),
		on(g.key, "xpending", g.name),
		on(g.key, "xclaim", g.name, g.consumer, 0, "0-0"),
	)
	if needs.Removed || needs.RemovesOthers {
		rights = append(rights, on(g.key, "xgroup|delconsumer", g.name, g.consumer))
	}
	if needs.Trims {
		rights = append(rights, on(g.key, "xtrim", "minid", "0"), on(g.key, "xlen"), on(g.key, "xrange", "-", "+"), toAskTheTime(g.key))
	}
	if needs.Watches {
		rights = append(rights, on(g.key, "xlen"), right{"client|tracking", g.key, []any{"client", "tracking", "on"}})
	}
	if !g.NoAck {
		rights = append(rights, on(g.key, "xack", g.name, "0-0"))
	}
	if needs.DeadLetters != "" {
		rights = append(rights, on(g.key, "xrange", "-", "+"), on(needs.DeadLetters, "xadd", "*", "", ""))
	}
	rights = append(rights, toOwn(needs.Owner, g.key)...)
	retries := needs.RetryQueue
	optional := []optionalRights{
		{toMoveDelayed(needs.Delayed, g.key), func() { needs.Delayed = "" }},
		{toUseRetryQueue(retries, g.key), func() { retries = "" }},
		{toReport(needs.Members, g.key), func() { needs.Members = "" }},
		{toLookForAPause(needs.Pause), func() { needs.Pause = "" }},
	}
	version, required, err := askFor(ctx, g.shared, g.key, rights, optional)
	g.limited = version >= limitsReplies
	if err != nil {
		return err
	}
	g.delayed, g.members, g.pause = needs.Delayed, needs.Members, needs.Pause
	if g.retries.keys = nil; retries != "" {
		g.retries.keys, g.retries.lease = retryKeys(retries), needs.Lease
	}
	return missing(rights, required)
}

// MovesDelayed reports whether the user may move delayed messages. CheckRights finds it out.
func (g *Group) MovesDelayed() bool { return g.delayed != "" }

// limitsReplies is the first version of Redis that knows XREADGROUP ... MAXSIZE. Valkey reports
// 7.2.
const limitsReplies = 0x00080a00

// CheckRights returns an error if the user may not read the stream, or may not watch it. It runs no
// script: most users of a fan-out lack that right.
func (f *Fanout) CheckRights(ctx context.Context, watches bool) error {
	if watches {
		if err := f.shared.XLen(ctx, f.key).Err(); err != nil {
			return err
		}
	}
	behindAll := strconv.FormatUint(1<<64-1, 10)
	err := f.shared.XRead(ctx, &redis.XReadArgs{Streams: []string{f.key, behindAll + "-" + behindAll}, Count: 1, Block: -1}).Err()
	if noneWaiting(err) {
		return nil
	}
	return err
}

// check returns an error that names the rights that the user lacks.
func check(ctx context.Context, client redis.Scripter, key string, rights []right) error {
	_, denied, err := ask(ctx, client, key, rights)
	if err != nil {
		return err
	}
	return missing(rights, denied)
}

// optionalRights are for work that is left out if the user lacks one of them.
type optionalRights struct {
	rights  []right
	leaveIt func()
}

// askFor is ask for rights that are required and for some that are not. It returns which of the
// required ones the user lacks.
func askFor(
	ctx context.Context, client redis.Scripter, key string, rights []right, optional []optionalRights,
) (version int64, required []int, err error) {
	all := slices.Clone(rights)
	for _, o := range optional {
		all = append(all, o.rights...)
	}
	version, denied, err := ask(ctx, client, key, all)
	for _, place := range denied {
		if place < len(rights) {
			required = append(required, place)
			continue
		}
		place -= len(rights)
		for _, o := range optional {
			if place < len(o.rights) {
				o.leaveIt()
				break
			}
			place -= len(o.rights)
		}
	}
	return version, required, err
}

// ask asks, in one round trip, for all rights and for the server's version. It returns which rights
// the user lacks.
func ask(ctx context.Context, client redis.Scripter, key string, rights []right) (version int64, denied []int, err error) {
	var args []any
	for _, r := range rights {
		args = append(append(args, len(r.words)), r.words...)
	}
	reply, err := rightsScript.Run(ctx, client, []string{key}, args...).Int64Slice()
	if err != nil || len(reply) == 0 {
		return 0, nil, err
	}
	for _, place := range reply[1:] {
		denied = append(denied, int(place))
	}
	return reply[0], denied, nil
}

func missing(rights []right, denied []int) error {
	if len(denied) == 0 {
		return nil
	}
	names := make([]string, len(denied))
	for i, place := range denied {
		names[i] = fmt.Sprintf("+%s on %q", rights[place].name, rights[place].key)
	}
	return ownError("NOPERM the user lacks " + strings.Join(names, ", "))
}
