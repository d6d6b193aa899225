package command

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTopics(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 3)...)
	assert.Regexp(t, `^TOPIC .*\n`+p.Topic+` +3 +0 `, p.do("topics", p.Topic+"*"))
	topics := ask[[]topicView](p, "topics", p.Topic)
	require.Len(t, topics, 1)
	assert.Equal(t, int64(3), topics[0].Length)
	assert.Equal(t, "[]\n", p.do("topics", p.Topic+"x", "-o", "json"))

	p.publishTo(p.Topic+"b", fixture.Numbered("m", 1)...)
	r := p.run("topics", p.Topic+"*", "-n", "1")
	assert.Equal(t, 2, strings.Count(r.out, "\n"))
	assert.Equal(t, "There are more than 1: -n 0 shows all.\n", r.err)
}

func TestPending(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 3)...)
	require.NoError(t, p.Client.XGroupCreate(t.Context(), p.Topic, "g", "0").Err())
	for _, name := range []string{"a", "b"} { // of another library
		require.NoError(t, p.Client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: name, Streams: []string{p.Topic, ">"}, Count: 1}).Err())
	}
	all := ask[[]pendingView](p, "pending", p.Topic, "g")
	require.Len(t, all, 2)
	assert.Equal(t, "a", all[0].Consumer)
	assert.Len(t, ask[[]pendingView](p, "pending", p.Topic, "g", "--where", `consumer == "b"`), 1)
	assert.Len(t, ask[[]pendingView](p, "pending", p.Topic, "g", "--consumer", "b"), 1)
	assert.Empty(t, ask[[]pendingView](p, "pending", p.Topic, "g", "--min-idle", "1h"))
	assert.Regexp(t, `^CONSUMER .*\na +working +1 .* \? +\?`, p.do("consumers", p.Topic, "g"))
	p.run("pending", p.Topic, "nobody").fails(ExitError, `"redisstream groups TOPIC" lists the groups`)
}

const hostile = "\x1b[2J\x1b]0;owned\a\u009b31m\r\nline two"

// What a server stores reaches a terminal without control characters, in every output.
func TestHostileEntries(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.terminal = true
	topic := p.Topic + "\x1b[31m"
	msg := message.NewMessage("uuid\x1b[1m", []byte(hostile))
	msg.Metadata.Set("key\x1b[0m", "value\x1b[0m")
	p.publishTo(topic, msg)
	fields := []any{redisstream.DeadLetterStreamKey, topic, redisstream.DeadLetterGroupKey, "g\x1b[1m", redisstream.DeadLetterReasonKey, hostile}
	require.NoError(t, p.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: redisstream.DeadLetterTopic(topic), Values: append(fields, "field\x1b", hostile)}).Err())
	require.NoError(t, p.Client.XGroupCreate(t.Context(), topic, "g\x1b[1m", "0").Err())
	require.NoError(t, p.Client.XGroupCreateConsumer(t.Context(), topic, "g\x1b[1m", "c\x1b[1m").Err())
	for _, args := range [][]string{
		{"topics", p.Topic + "*"},
		{"groups", topic},
		{"consumers", topic, "g\x1b[1m"},
		{"tail", topic},
		{"find", topic, "uuid\x1b[1m"},
		{"dead", "list", topic},
		{"check", topic},
		{"dead", "drop", topic, "--all", "--dry-run"},
		{"groups", topic + "\x1b[2J"},
		{"nope\x1b[2J"},
	} {
		for _, output := range []string{"table", "json"} {
			r := p.run(append(args, "-o", output)...)
			for _, c := range r.out + r.err {
				if c != '\n' && (c < ' ' || 0x7f <= c && c < 0xa0) {
					assert.Fail(t, "a control character", "%s: %q", args, r.out+r.err)
					break
				}
			}
		}
	}
	assert.Equal(t, 1, strings.Count(p.do("tail", topic), "\n"), "one line for each message")
	m := tailed(t, p.do("tail", topic, "-o", "json"))[0]
	assert.Equal(t, hostile, *m.Payload, "JSON has it unchanged")
}

// tailed decodes lines of JSON.
func tailed(t *testing.T, out string) (list []messageView) {
	t.Helper()
	for line := range strings.Lines(out) {
		var m messageView
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		list = append(list, m)
	}
	return list
}

func TestTail(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	for i, ago := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Hour} {
		p.addAt(p.Topic, ago, i, `{"n":`+string(rune('0'+i))+`}`)
	}
	binary := message.NewMessage("binary", []byte("\xff\x00"))
	binary.Metadata.Set("raw", "\xfe")
	p.publishTo(p.Topic, binary)
	tail := func(args ...string) (ids []string) {
		for _, m := range tailed(t, p.do(append([]string{"tail", p.Topic, "-o", "json"}, args...)...)) {
			ids = append(ids, m.UUID)
		}
		return ids
	}
	assert.Equal(t, []string{`{"n":0}`, `{"n":1}`, `{"n":2}`, "binary"}, tail())
	assert.Equal(t, []string{`{"n":2}`, "binary"}, tail("-n", "2"))
	assert.Equal(t, []string{`{"n":2}`, "binary"}, tail("--from", "90m"))
	assert.Equal(t, []string{`{"n":0}`}, tail("--from", "0", "-n", "1"))
	assert.Equal(t, []string{`{"n":1}`}, tail("--where", "json.n == 1"))
	assert.Equal(t, []string{`{"n":0}`, `{"n":1}`}, tail("--where", `age > duration("100m")`))
	assert.Equal(t, []string{"binary"}, tail("--from", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)))

	m := tailed(t, p.do("tail", p.Topic, "-n", "1", "-o", "json"))[0]
	assert.Nil(t, m.Payload)
	assert.Equal(t, base64.StdEncoding.EncodeToString([]byte("\xff\x00")), m.PayloadBase64)
	assert.Equal(t, map[string]string{"raw": base64.StdEncoding.EncodeToString([]byte("\xfe"))}, m.MetadataBase64)
	assert.Contains(t, p.do("tail", p.Topic, "-n", "1"), `[raw=\xfe]  \xff\u{0}`)

	fixture.AddPlain(t, p.Client, p.Topic, "*", "plain")
	assert.Contains(t, p.do("tail", p.Topic, "-n", "1"), "(not decoded: ")
	assert.Contains(t, p.do("tail", p.Topic, "-n", "1", "--format", "plain"), "  plain\n")

	p.run("tail", p.Topic, "--from", "yesterday").fails(ExitUsage, "--from")
	p.run("tail", p.Topic, "--where", "wrong == 1").fails(ExitUsage, "unknown name wrong at character 1")
	p.run("tail", p.Topic, "--where", "json.x.y == 1").fails(ExitError, "cannot fetch y from <nil>")
	p.run("tail", p.Topic+"x").fails(ExitError, `"redisstream topics" lists the topics`)
	p.run("tail", p.Topic, "-n", "-1").fails(ExitUsage, "--limit")
}

func TestFind_nothing(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 1)...)
	assert.Equal(t, "topic", ask[[]foundView](p, "find", p.Topic, "m-0")[0].Place)
	p.run("find", p.Topic, "m-9").fails(ExitError, "has the UUID m-9")
	p.run("find", p.Topic, "m-0", "--to", "1h").fails(ExitError, "has the UUID m-0")
}

func TestTop(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 3)...)
	for _, group := range []string{"a", "b", "c", "d", "e"} {
		require.NoError(t, p.Client.XGroupCreate(t.Context(), p.Topic, group, "0").Err())
	}
	out := p.do("top", p.Topic, "--looks", "2", "--interval", "100ms")
	assert.NotContains(t, out, "\x1b")
	assert.Equal(t, 2, strings.Count(out, "TOPIC "), "a table for each look")
	assert.Regexp(t, p.Topic+` +a +- +- +3 +0 `, out)
	assert.Regexp(t, p.Topic+` +a +0\.0 +0\.0 +3 +0 `, out)
	out = p.do("top", p.Topic, "--looks", "2", "--interval", "100ms", "-o", "json")
	assert.Equal(t, 2, strings.Count(out, "\n"))

	p.terminal = true
	out = p.do("top", p.Topic, "--looks", "2", "--interval", "100ms")
	assert.True(t, strings.HasPrefix(out, enterScreen) && strings.HasSuffix(out, leaveScreen))
	assert.Equal(t, 2, strings.Count(out, goHome), "it is redrawn")
	assert.Contains(t, out, "… 3 more", "the terminal has 5 lines")
	p.run("top", "--interval", "1ms").fails(ExitUsage, "--interval")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.publishTo(p.Topic, fixture.Numbered("m", 1)...)
	require.NoError(t, p.Client.XGroupCreate(t.Context(), p.Topic, "kitchen", "0").Err())
	assert.Contains(t, p.do("__complete", "groups", p.Topic[:12]), p.Topic+"\n")
	assert.Contains(t, p.do("__complete", "pending", p.Topic, "k"), "kitchen\n")
	assert.Contains(t, p.do("__complete", "topics", "--output", ""), "json\n")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		assert.Contains(t, p.do("completion", shell), "redisstream")
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartMasters(t, [3]time.Duration{})
	p := newProgramOn(fixture.NewOn(t, cluster.Nodes[0]))
	for _, topic := range []string{"a", "b", "c", "d"} {
		p.do("publish", topic, "x")
	}
	assert.Len(t, ask[[]topicView](p, "topics"), 4)
	assert.Equal(t, "x", *tailed(t, p.do("tail", "c", "-o", "json"))[0].Payload)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	p := newProgramOn(fixture.NewTLS(t))
	p.url = "rediss://" + p.Server.TLSAddr + "?skip_verify=true"
	p.do("publish", p.Topic, "x")
	assert.Len(t, ask[[]topicView](p, "topics"), 1)
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinelSet(t)
	p := newProgramOn(fixture.New(t))
	p.url = set.URL()
	p.do("publish", p.Topic, "x")
	assert.Len(t, ask[[]topicView](p, "topics"), 1)
}
