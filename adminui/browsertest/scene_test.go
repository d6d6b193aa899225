package browsertest

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/require"
)

// uuids returns the UUIDs of the dead letters.
func uuids(b *fixture.Bench) (list []string) {
	b.Helper()
	for _, letter := range b.DeadLetters() {
		list = append(list, letter.Values[fixture.UUIDField].(string))
	}
	return list
}

// attacks are texts that would do something if a page did not escape them.
var attacks = []string{
	"<script>window.canary = 1; alert(1)</script>", `"><img src=x onerror="window.canary = 1">`, `' autofocus onfocus=canary=1 x='`,
	"javascript:window.canary=1", "</title></textarea></pre></svg><script>canary=1</script>", `{{.}}{{printf "%s" .Token}}${canary=1}`,
	"\x1b[31mred\x1b]0;title\x07", "\xff\xfe\xc3", "abc\u202egnp.exe\u2066", "\x00", "<svg/onload=canary=1>", "<!--", "]]>",
	`<link rel=stylesheet href="https://evil.example/x.css"><meta http-equiv=refresh content="0;url=https://evil.example">`,
	`<form action="https://evil.example"><input type=submit>`, "日本語 العربية 😀", strings.Repeat("W", 300),
}

var everything = strings.Join(attacks, " ")

// hostileScene has attacks in all that a page shows.
type hostileScene struct{ topic, group, consumer, id, large string }

func newHostileScene(b *fixture.Bench) hostileScene {
	b.Helper()
	s := hostileScene{topic: b.Topic + everything, group: "group" + everything, consumer: "consumer" + everything}
	publisher := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client})
	hostile := func(payload string) *message.Message {
		msg := message.NewMessage("uuid"+everything, []byte(payload))
		msg.Metadata.Set("key"+everything, "value"+everything)
		return msg
	}
	later := hostile(everything)
	delay.Message(later, delay.For(time.Hour))
	large := strings.Repeat(everything+"\n", 10<<20/len(everything))
	json := `{"a": "` + strings.ReplaceAll(attacks[0], `"`, `\"`) + `", "b": ["</pre><script>canary=1</script>"]}`
	valid := strings.ToValidUTF8(everything, "")
	require.NoError(b, publisher.Publish(s.topic, hostile(valid), hostile(everything), hostile(json), hostile(large), later))
	b.Do("XGROUP", "CREATE", s.topic, s.group, "0")
	b.Do("XREADGROUP", "GROUP", s.group, s.consumer, "COUNT", 1, "STREAMS", s.topic, ">")
	b.Do("XADD", s.topic, "*", "field"+everything, "no message"+everything)
	entries, err := b.Client.XRange(b.Context(), s.topic, "-", "+").Result()
	require.NoError(b, err)
	s.id, s.large = entries[0].ID, entries[3].ID
	for _, entry := range entries[:4] {
		args := []any{
			"XADD", redisstream.DeadLetterTopic(s.topic), "*",
			redisstream.DeadLetterReasonKey, "reason" + everything, redisstream.DeadLetterErrorKey, "error" + everything,
			redisstream.DeadLetterStreamKey, s.topic, redisstream.DeadLetterIDKey, entry.ID, redisstream.DeadLetterGroupKey, s.group,
			redisstream.DeadLetterConsumerKey, s.consumer, redisstream.DeadLetterDeliveriesKey, "7",
		}
		for field, value := range entry.Values {
			args = append(args, field, value)
		}
		b.Do(args...)
	}
	return s
}

// pages are all pages of the scene.
func (s hostileScene) pages() map[string][]string {
	return map[string][]string{
		"":         {"q", s.topic},
		"topic":    {"topic", s.topic},
		"group":    {"topic", s.topic, "group", s.group},
		"pending":  {"topic", s.topic, "group", s.group, "consumer", s.consumer},
		"parked":   {"topic", s.topic, "group", s.group},
		"messages": {"topic", s.topic, "at", everything[:0]},
		"message":  {"topic", s.topic, "id", s.id},
		"find":     {"topic", s.topic, "uuid", "uuid" + everything},
		"dead":     {"topic", s.topic, "of", s.group, "q", "7"},
		"delayed":  {"topic", s.topic},
	}
}

// each visits all pages of the scene, and the message with 10 MiB.
func (s hostileScene) each(t *testing.T, tab *tab, look func(path string)) {
	t.Helper()
	for path, pairs := range s.pages() {
		tab.visit(path, pairs...)
		look(path)
	}
	tab.visit("message", "topic", s.topic, "id", s.large)
	look("message with 10 MiB")
}
