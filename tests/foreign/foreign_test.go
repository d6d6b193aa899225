// Package foreign tests entries that programs without this library write and read.
package foreign

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// What Dapr 1.18 writes for JSON, text and bytes becomes a message.
func TestCloudEvents_ofDapr(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ contentType, data, payload string }{
		"JSON":  {"application/json", `"data":{"n":1}`, `{"n":1}`},
		"text":  {"text/plain", `"data":"{\"n\":1}"`, `{"n":1}`},
		"bytes": {"application/octet-stream", `"data_base64":"` + base64.StdEncoding.EncodeToString([]byte("\x00\xff")) + `"`, "\x00\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			event := `{` + test.data + `,"datacontenttype":"` + test.contentType + `","id":"id-0","pubsubname":"pubsub","source":"shop",` +
				`"specversion":"1.0","subject":"sub","time":"2026-11-27T21:57:31Z","topic":"orders","traceid":"` + traceparent +
				`","traceparent":"` + traceparent + `","tracestate":"","type":"order.placed"}`
			b.Do("XADD", b.Topic, "*", "data", event, "metadata", `{"ttlInSeconds":"60"}`)
			msg := receive(b, CloudEvents{})
			assert.Equal(t, "id-0", msg.UUID)
			assert.Equal(t, test.payload, string(msg.Payload))
			assert.Equal(t, "order.placed", msg.Metadata.Get("type"))
			assert.Equal(t, traceparent, msg.Metadata.Get("traceparent"))
			assert.Equal(t, "60", msg.Metadata.Get("ttlInSeconds"))
		})
	}
}

// Whatever CloudEvents writes, it reads; and the entry is a CloudEvent.
func TestCloudEvents_roundTrip(t *testing.T) {
	t.Parallel()
	for contentType, payload := range map[string]string{
		"": `{"n":1}`, "application/json": `[1,"é"]`, "application/cloudevents+json": `{}`, "text/plain; charset=utf-8": "tea\n", "image/png": "\x89PNG\xff",
	} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			format := CloudEvents{Source: "shop"}
			sent := message.NewMessage("id-1", []byte(payload))
			if contentType != "" {
				sent.Metadata.Set("datacontenttype", contentType)
			}
			publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Marshaler: format})
			require.NoError(t, publisher.Publish(b.Topic, sent))
			entries, err := b.Client.XRange(t.Context(), b.Topic, "-", "+").Result()
			require.NoError(t, err)
			var event map[string]any
			require.NoError(t, json.Unmarshal([]byte(entries[0].Values["data"].(string)), &event))
			for name, value := range map[string]string{"id": "id-1", "specversion": "1.0", "source": "shop", "type": "com.dapr.event.sent", "topic": b.Topic} {
				assert.Equal(t, value, event[name], name)
			}
			got := receive(b, format)
			assert.Equal(t, sent.UUID, got.UUID)
			assert.Equal(t, payload, string(got.Payload))
		})
	}
}

// An entry that is no CloudEvent is a dead letter.
func TestCloudEvents_otherEntries(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{"no JSON": "tea", "no object": "[]", "no id": `{"specversion":"1.0","data":1}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := CloudEvents{}.Unmarshal("1-1", map[string]any{"data": data})
			assert.Error(t, err)
		})
	}
}

// The XADD lines of docs/migration-xadd.md, as a shell reads them, become messages in the format
// that stands in front of them.
func TestForeign_shellLinesOfTheDocs(t *testing.T) {
	t.Parallel()
	formats := map[string]redisstream.Unmarshaler{
		"PlainMarshaler": redisstream.PlainMarshaler{}, "JSONMarshaler": redisstream.JSONMarshaler{}, "MsgpackMarshaler": redisstream.MsgpackMarshaler{},
	}
	page, err := os.ReadFile("../../docs/migration-xadd.md")
	require.NoError(t, err)
	lines := regexp.MustCompile(`(?m)^# (\w+Marshaler)\nredis-cli (XADD .*)$`).FindAllStringSubmatch(string(page), -1)
	require.Len(t, lines, len(formats))
	for _, line := range lines {
		t.Run(line[1], func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			b.Do(arguments(t, strings.Replace(line[2], " orders ", " "+b.Topic+" ", 1))...)
			msg := receive(b, formats[line[1]])
			assert.Equal(t, `{"n":1}`, string(msg.Payload))
			assert.Equal(t, "order-1", msg.UUID)
			assert.Equal(t, message.Metadata{"type": "order.placed"}, msg.Metadata)
		})
	}
}

// arguments returns what a shell would pass to redis-cli.
func arguments(t *testing.T, line string) (args []any) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\0' `+line)
	output, err := command.Output()
	require.NoError(t, err)
	for arg := range strings.SplitSeq(strings.TrimSuffix(string(output), "\x00"), "\x00") {
		args = append(args, arg)
	}
	return args
}

// A hand-written XREADGROUP loop and a Subscriber share a group: each entry goes to one of them.
func TestForeign_sharedGroup(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for _, n := range []string{"1", "2", "3"} {
		fixture.AddPlain(t, b.Client, b.Topic, "1-"+n, n)
	}
	byHand := b.ReadAs("by-hand", 2)
	config := fixture.FastClaimConfig()
	config.Unmarshaler = redisstream.PlainMarshaler{}
	_, messages := b.Subscribe(config)
	assert.Equal(t, []string{"3"}, payloads(fixture.Receive(t, messages)))
	require.NoError(t, b.Client.XAck(t.Context(), b.Topic, "g", byHand[0].ID).Err())
	assert.Equal(t, []string{"2"}, payloads(fixture.Receive(t, messages)), "taken over: the loop went silent")
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
}

// The way back: what a Subscriber leaves at Close, a hand-written loop claims at once.
func TestForeign_wayBack(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	fixture.AddPlain(t, b.Client, b.Topic, "1-1", "1")
	config := fixture.GroupConfig()
	config.Unmarshaler = redisstream.PlainMarshaler{}
	subscriber, messages := b.Subscribe(config)
	b.Eventually("read", func() bool { return b.Pending() == 1 })
	require.NoError(t, subscriber.Close())
	for msg := range messages {
		msg.Nack()
	}
	claimed, _, err := b.Client.XAutoClaim(t.Context(), &redis.XAutoClaimArgs{
		Stream: b.Topic, Group: "g", Consumer: "by-hand", MinIdle: fixture.Soon, Start: "0", Count: 10,
	}).Result()
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	assert.Equal(t, "1", claimed[0].Values["data"])
}

func payloads(messages ...*message.Message) (list []string) {
	for _, msg := range messages {
		list = append(list, string(msg.Payload))
		msg.Ack()
	}
	return list
}

// receive returns the only message of the topic, and acks it.
func receive(b *fixture.Bench, format redisstream.Unmarshaler) *message.Message {
	b.Helper()
	config := fixture.GroupConfig()
	config.Unmarshaler = format
	_, messages := b.Subscribe(config)
	msg := fixture.Receive(b, messages)
	msg.Ack()
	return msg
}
