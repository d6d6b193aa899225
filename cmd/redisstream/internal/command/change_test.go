package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// letters makes n dead letters of the group g, with the payloads {"n":0} and so on.
func (p *program) letters(n int) {
	p.Helper()
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(fmt.Sprint(i), fmt.Appendf(nil, `{"n":%d}`, i))
	}
	p.publishTo(p.Topic, messages...)
	config := fixture.GroupConfig()
	config.MaxDeliveries = 1
	subscriber := p.Subscriber(config)
	output, err := subscriber.Subscribe(p.Context(), p.Topic)
	require.NoError(p, err)
	for range n {
		fixture.Receive(p, output).Nack()
	}
	p.eventually(func() bool { return p.dead() == n }, "dead letters")
	require.NoError(p, subscriber.Close())
}

func (p *program) dead() int {
	return int(p.Client.XLen(p.Context(), redisstream.DeadLetterTopic(p.Topic)).Val())
}

func TestDead(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.letters(6)
	list := ask[[]letterView](p, "dead", "list", p.Topic)
	require.Len(t, list, 6)
	assert.Equal(t, "g", list[0].Group)
	assert.Equal(t, `{"n":0}`, *list[0].Payload)
	assert.Contains(t, p.do("dead", "list", p.Topic, "--where", "json.n == 3"), `{"n":3}`)
	assert.Contains(t, p.do("dead", "show", p.Topic, list[2].ID), "entry        "+list[2].EntryID+" of "+p.Topic)
	p.run("dead", "show", p.Topic, "1-0").fails(ExitError, "has no dead letter 1-0")

	p.run("dead", "drop", p.Topic, "--yes").fails(ExitUsage, "say which")
	p.run("dead", "drop", p.Topic, "--all").fails(ExitRefused, "--yes")
	dry := ask[outcomeView](p, "dead", "drop", p.Topic, "--where", "json.n < 2", "--dry-run")
	assert.Equal(t, outcomeView{Action: "dropped", DryRun: true, Count: 2, IDs: []string{list[0].ID, list[1].ID}}, dry)
	p.run("dead", "drop", p.Topic, "--where", "json.n.x > 2", "--yes").fails(ExitError, "--where: entry "+list[0].ID)
	assert.Equal(t, 6, p.dead(), "nothing was changed")

	p.terminal = true
	for _, answer := range []string{"", "\n", "no\n", "yes please\n"} {
		p.input = answer
		r := p.run("dead", "drop", p.Topic, "--where", "json.n < 2")
		assert.Equal(t, ExitRefused, r.code)
		assert.Contains(t, r.err, "Drop 2 dead letters of "+p.Topic+"? [y/N] ")
	}
	assert.Equal(t, 6, p.dead(), "nothing was changed")
	p.input = "y\n"
	assert.Contains(t, p.do("dead", "drop", p.Topic, "--where", "json.n < 2"), "Dropped 2 dead letters: "+list[0].ID+" "+list[1].ID)
	assert.Equal(t, 4, p.dead())

	p.do("dead", "retry", p.Topic, list[2].ID, "--yes")
	_, output := p.Subscribe(fixture.GroupConfig())
	assert.Equal(t, []string{`{"n":2}`}, fixture.ReceiveAll(t, output, 1))
	p.do("dead", "replay", p.Topic, "--where", `uuid == "4"`, "--yes")
	assert.Equal(t, []string{`{"n":4}`}, fixture.ReceiveAll(t, output, 1))
	assert.Equal(t, 2, p.dead())
}

// What was done before an error is reported, too.
func TestCarryOut_failsHalfway(t *testing.T) {
	t.Parallel()
	var out, failures bytes.Buffer
	a := &app{Streams: newProgram(t).streams(&out, &failures)}
	failure := errors.New("the connection is lost")
	err := carryOut(t.Context(), a, &server{}, change{yes: true}, plan[admin.Outcome]{
		do: func(_ context.Context, dryRun bool) (admin.Outcome, error) {
			if dryRun {
				return admin.Outcome{IDs: []string{"1-0", "2-0"}, DryRun: true}, nil
			}
			return admin.Outcome{IDs: []string{"1-0"}}, failure
		},
		question: func(admin.Outcome) string { return "?" },
		report:   func(o admin.Outcome) error { return a.outcome("dropped", "dead letter", o) },
	})
	require.ErrorIs(t, err, failure)
	assert.Equal(t, "Dropped 1 dead letter: 1-0\n", out.String())
}

func TestDelayed(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	for i := range 3 {
		p.do("publish", p.Topic, fmt.Sprintf(`{"n":%d}`, i), "--delay", fmt.Sprintf("%dh", i+1))
	}
	list := ask[[]delayedView](p, "delayed", "list", p.Topic)
	require.Len(t, list, 3)
	assert.InDelta(t, 3600, list[0].InSeconds, 60)
	assert.Len(t, ask[[]delayedView](p, "delayed", "list", p.Topic, "--where", `due_in > duration("90m")`), 2)
	assert.Equal(t, 1, ask[outcomeView](p, "delayed", "drop", p.Topic, "--where", "json.n == 1", "--yes").Count)
	assert.Equal(t, 1, ask[outcomeView](p, "delayed", "now", p.Topic, list[2].ID, "--yes").Count)
	assert.Contains(t, p.do("tail", p.Topic), `{"n":2}`)
	assert.Len(t, ask[[]delayedView](p, "delayed", "list", p.Topic), 1)
}

func TestPublish(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.do("publish", p.Topic, "argument", "-m", "a=b=c", "--uuid", "u1")
	p.input = "from\nstdin\n"
	p.do("publish", p.Topic)
	p.do("publish", p.Topic, "--lines", "--format", "json")
	p.do("publish", p.Topic, "--file", "-", "--format", "plain")
	list := tailed(t, p.do("tail", p.Topic, "-o", "json"))
	require.Len(t, list, 5)
	assert.Equal(t, "u1", list[0].UUID)
	assert.Equal(t, map[string]string{"a": "b=c"}, list[0].Metadata)
	assert.Equal(t, "from\nstdin\n", *list[1].Payload)
	assert.NotEmpty(t, list[2].Error, "it has another format")
	lines := tailed(t, p.do("tail", p.Topic, "-o", "json", "--format", "json"))
	assert.Equal(t, "stdin", *lines[3].Payload)

	p.run("publish", p.Topic, "x", "-m", "novalue").fails(ExitUsage, "KEY=VALUE")
	p.run("publish", p.Topic, "x", "--file", "y").fails(ExitUsage, "not both")
	p.run("publish", p.Topic, "--file", "/does/not/exist").fails(ExitError, "no such file")
	p.terminal = true
	p.run("publish", p.Topic).fails(ExitUsage, "there is no payload")
}

func TestSkip(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 2)...)
	require.NoError(t, p.Client.XGroupCreate(t.Context(), p.Topic, "g", "0").Err())
	require.NoError(t, p.Client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{p.Topic, ">"}}).Err())
	id := ask[[]pendingView](p, "pending", p.Topic, "g")[0].ID
	p.run("skip", p.Topic, "g", id).fails(ExitRefused, "there is no terminal")
	p.run("skip", p.Topic, "g", id, "--reason", "x", "--yes").fails(ExitUsage, "--dead-letter")
	p.run("skip", p.Topic, "g", "nonsense", "--yes").fails(ExitError, "an ID is like")
	assert.Equal(t, "Dry run: would have skipped 1 entry: "+id+"\n", p.do("skip", p.Topic, "g", id, "--dry-run"))
	assert.Len(t, ask[[]pendingView](p, "pending", p.Topic, "g"), 2)
	p.do("skip", p.Topic, "g", id, "--yes")
	assert.Len(t, ask[[]pendingView](p, "pending", p.Topic, "g"), 1)
	assert.Zero(t, p.dead())
}

func TestResetAndDelete(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 3)...)
	require.NoError(t, p.Client.XGroupCreate(t.Context(), p.Topic, "g", "$").Err())
	for _, args := range [][]string{{}, {"--id", "0", "--ago", "1h"}, {"--ago", "-1h"}, {"--time", "yesterday"}, {"--time", ""}} {
		p.run(append([]string{"reset", p.Topic, "g", "--yes"}, args...)...).fails(ExitUsage, "")
	}
	v := ask[resetView](p, "reset", p.Topic, "g", "--id", "0", "--dry-run")
	assert.Equal(t, int64(3), *v.LagAfter)
	assert.Equal(t, int64(0), *ask[[]groupView](p, "groups", p.Topic)[0].Lag)
	p.do("reset", p.Topic, "g", "--time", time.Now().Add(-time.Hour).UTC().Format(time.DateTime), "--yes")
	assert.Equal(t, int64(3), *ask[[]groupView](p, "groups", p.Topic)[0].Lag)

	p.run("delete", p.Topic, "g").fails(ExitRefused, "")
	p.do("delete", p.Topic, "g", "--dry-run")
	assert.Len(t, ask[[]groupView](p, "groups", p.Topic), 1)
	p.do("delete", p.Topic, "g", "--yes")
	assert.Empty(t, ask[[]groupView](p, "groups", p.Topic))

	p.Subscribe(fixture.GroupConfig())
	p.run("delete", p.Topic, "g", "--yes").fails(ExitError, "stop its members first")
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	_, output := p.Subscribe(fixture.GroupConfig())
	p.do("pause", p.Topic, "g", "--reason", "a test")
	paused := ask[[]groupView](p, "groups", p.Topic)[0]
	require.NotNil(t, paused.Paused)
	assert.Equal(t, "a test", paused.Paused.Reason)
	assert.Contains(t, paused.Paused.By, "@")
	p.do("resume", p.Topic, "g")
	assert.Nil(t, ask[[]groupView](p, "groups", p.Topic)[0].Paused)
	p.publishTo(p.Topic, fixture.Numbered("m", 1)...)
	assert.Equal(t, []string{"m-0"}, fixture.ReceiveAll(t, output, 1))
	p.run("pause", p.Topic, "nobody").fails(ExitError, "lists the groups")
}

func TestCheck(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.letters(2)
	check := func(code int, contains string, args ...string) {
		t.Helper()
		r := p.run(append([]string{"check"}, args...)...)
		assert.Equal(t, code, r.code, r.out)
		assert.Contains(t, r.out, contains)
		assert.Equal(t, 1, strings.Count(r.out, "\n"), r.out)
		assert.Empty(t, r.err)
	}
	check(2, "CRITICAL: "+p.Topic+": g: 0 live members (CRITICAL) | 'dead_letters'=2;;;0 'g lag'=0;;;0 ", p.Topic)
	p.Subscribe(fixture.GroupConfig())
	check(0, "OK: "+p.Topic+": g: lag 0, oldest - | ", p.Topic, "g")
	check(1, "2 dead letters (WARNING) | 'dead_letters'=2;1;3;0 ", p.Topic, "--dead-warn", "1", "--dead-crit", "3")
	check(2, "2 dead letters (CRITICAL)", p.Topic, "--dead-crit", "2")
	check(1, "1 live member (WARNING)", p.Topic, "--members-warn", "2")
	require.NoError(t, p.Client.XGroupCreate(t.Context(), p.Topic, "late", "0").Err())
	check(1, "late: lag 2 (WARNING)", p.Topic, "late", "--lag-warn", "2", "--members-crit", "0")
	check(2, "late: oldest unhandled entry ", p.Topic, "late", "--oldest-crit", "1ms", "--members-crit", "0")
	p.do("pause", p.Topic, "g", "--by", "me | you", "--reason", "x")
	check(1, "g: paused by me ¦ you: x (WARNING) | ", p.Topic, "g")
	check(0, "OK: ", p.Topic, "g", "--paused", "ok")
	check(3, "UNKNOWN: ", p.Topic+"x")
	check(3, "UNKNOWN: ", p.Topic, "--wrong")
	check(3, "UNKNOWN: ")
	assert.Equal(t, "OK", ask[checkView](p, "check", p.Topic, "g", "--paused", "ok").Status)
}

func TestBench(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	v := ask[benchView](p, "bench", "--messages", "500", "--batch", "7")
	assert.Positive(t, v.Publish.Rate)
	assert.Positive(t, v.Consume.Rate)
	keys, _, err := p.Client.Scan(t.Context(), 0, "*redisstream-bench-*", 100_000).Result()
	require.NoError(t, err)
	assert.Empty(t, keys, "it deletes what it made")
	p.run("bench", "--messages", "0").fails(ExitUsage, "--messages")
}
