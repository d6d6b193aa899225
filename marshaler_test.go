package redisstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// format is a Marshaler and its Unmarshaler.
type format interface {
	redisstream.Marshaler
	redisstream.Unmarshaler
}

var formats = map[string]format{
	"msgpack":    redisstream.MsgpackMarshaler{},
	"json":       redisstream.JSONMarshaler{},
	"plain":      redisstream.PlainMarshaler{},
	"plain body": redisstream.PlainMarshaler{PayloadField: "body"},
}

func manyMetadata(n int) message.Metadata {
	metadata := message.Metadata{}
	for i := range n {
		metadata[fmt.Sprintf("key %d", i)] = strings.Repeat("v", i%50)
	}
	return metadata
}

// addAndRead adds an entry with these fields to the server, and returns it as read back.
func addAndRead(t *testing.T, fields any) redis.XMessage {
	t.Helper()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	require.NoError(t, client.XAdd(context.Background(), &redis.XAddArgs{Stream: topic, Values: fields}).Err())
	entries, err := client.XRange(context.Background(), topic, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 1)
	return entries[0]
}

func TestMarshaler_roundTripThroughServer(t *testing.T) {
	t.Parallel()
	messages := map[string]*message.Message{
		"empty payload, no metadata": {UUID: "1", Metadata: message.Metadata{}, Payload: message.Payload{}},
		"nil metadata and payload":   {UUID: "2"},
		"one metadata entry":         {UUID: "3", Metadata: message.Metadata{"name": "value"}, Payload: message.Payload("x")},
		"1,000 metadata entries":     {UUID: "4", Metadata: manyMetadata(1000), Payload: message.Payload("x")},
		"long metadata":              {UUID: "5", Metadata: message.Metadata{"k": strings.Repeat("long ", 20_000)}},
		"empty metadata value":       {UUID: "6", Metadata: message.Metadata{"empty": ""}},
		"empty metadata key":         {UUID: "7", Metadata: message.Metadata{"": "value"}},
		"1 MiB payload":              {UUID: "8", Payload: bytes.Repeat([]byte("0123456789abcdef"), 1<<16)},
		"every byte in the payload":  {UUID: "9", Payload: fixture.AllBytes()},
		"text":                       {UUID: "ü", Metadata: message.Metadata{"größe": "\"日本\"\n"}, Payload: message.Payload("{}")},
	}
	for formatName, format := range formats {
		for name, msg := range messages {
			t.Run(formatName+"/"+name, func(t *testing.T) {
				t.Parallel()
				fields, err := format.Marshal("topic", msg)
				require.NoError(t, err)
				entry := addAndRead(t, fields)
				got, err := format.Unmarshal(entry.ID, entry.Values)
				require.NoError(t, err)
				assert.Equal(t, msg.UUID, got.UUID)
				assert.Equal(t, string(msg.Payload), string(got.Payload))
				assert.Len(t, got.Metadata, len(msg.Metadata))
				for key, value := range msg.Metadata {
					assert.Equal(t, value, got.Metadata[key])
				}
				got.Metadata.Set("can", "be written to")
			})
		}
	}
}

func TestMarshaler_everyByteInUUIDAndMetadata(t *testing.T) {
	t.Parallel()
	msg := &message.Message{UUID: string(fixture.AllBytes()), Metadata: message.Metadata{string(fixture.AllBytes()): string(fixture.AllBytes())}}
	for _, name := range []string{"msgpack", "plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, err := formats[name].Marshal("topic", msg)
			require.NoError(t, err)
			entry := addAndRead(t, fields)
			got, err := formats[name].Unmarshal(entry.ID, entry.Values)
			require.NoError(t, err)
			assert.Equal(t, msg.UUID, got.UUID)
			assert.Equal(t, msg.Metadata, got.Metadata)
		})
	}
}

func TestMarshaler_emptyUUID(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"msgpack": "", "json": "", "plain": "the entry's ID"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, err := formats[name].Marshal("topic", message.NewMessage("", []byte("x")))
			require.NoError(t, err)
			entry := addAndRead(t, fields)
			got, err := formats[name].Unmarshal(entry.ID, entry.Values)
			require.NoError(t, err)
			if name == "plain" {
				want = entry.ID
			}
			assert.Equal(t, want, got.UUID)
			assert.Equal(t, "x", string(got.Payload))
		})
	}
}

func TestMarshaler_valuesAreStringsOrBytes(t *testing.T) {
	t.Parallel()
	msg := &message.Message{UUID: "1", Metadata: message.Metadata{"name": "value"}, Payload: message.Payload("x")}
	for name, format := range formats {
		fields, err := format.Marshal("topic", msg)
		require.NoError(t, err, name)
		for field, value := range fields {
			switch value.(type) {
			case string, []byte:
			default:
				assert.Failf(t, "wrong type", "%s: field %q is a %T", name, field, value)
			}
		}
	}
}

func TestUnmarshaler_returnsANewMessageEachTime(t *testing.T) {
	t.Parallel()
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, err := format.Marshal("topic",
				&message.Message{UUID: "1", Metadata: message.Metadata{"name": "value"}, Payload: message.Payload("payload")})
			require.NoError(t, err)
			fields = asRead(fields)
			first, err := format.Unmarshal("1-0", fields)
			require.NoError(t, err)
			first.Metadata["name"] = "changed"
			first.Payload[0] = 'X'
			require.True(t, first.Nack())
			second, err := format.Unmarshal("1-0", fields)
			require.NoError(t, err)
			assert.Equal(t, "value", second.Metadata["name"])
			assert.Equal(t, "payload", string(second.Payload))
			assert.True(t, second.Ack(), "the nack of the first message does not count for the second")
		})
	}
}

// asRead converts the values of fields to strings, as go-redis returns them.
func asRead(fields map[string]any) map[string]any {
	read := make(map[string]any, len(fields))
	for name, value := range fields {
		if raw, ok := value.([]byte); ok {
			value = string(raw)
		}
		read[name] = value
	}
	return read
}

func TestMsgpackMarshaler_wire(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		metadata message.Metadata
		packed   string
	}{
		"no metadata":    {nil, ""},
		"empty metadata": {message.Metadata{}, ""},
		"one entry":      {message.Metadata{"name": "value"}, "\x81\xa4name\xa5value"},
		"31 bytes":       {message.Metadata{"k": strings.Repeat("v", 31)}, "\x81\xa1k\xbf" + strings.Repeat("v", 31)},
		"32 bytes":       {message.Metadata{"k": strings.Repeat("v", 32)}, "\x81\xa1k\xd9\x20" + strings.Repeat("v", 32)},
		"256 bytes":      {message.Metadata{"k": strings.Repeat("v", 256)}, "\x81\xa1k\xda\x01\x00" + strings.Repeat("v", 256)},
		"not UTF-8":      {message.Metadata{"k": "\xff\x00"}, "\x81\xa1k\xa2\xff\x00"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, err := redisstream.MsgpackMarshaler{}.Marshal("topic",
				&message.Message{UUID: "the UUID", Metadata: test.metadata, Payload: message.Payload("\x00payload\xff")})
			require.NoError(t, err)
			assert.Equal(t, map[string]any{
				"_watermill_message_uuid": "the UUID",
				"metadata":                test.packed,
				"payload":                 "\x00payload\xff",
			}, addAndRead(t, fields).Values)
		})
	}
}

func TestMsgpackMarshaler_readsWhatOtherEncodersWrite(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		packed string
		want   message.Metadata
	}{
		"map16":              {"\xde\x00\x01\xa1a\xa1b", message.Metadata{"a": "b"}},
		"map32":              {"\xdf\x00\x00\x00\x01\xa1a\xa1b", message.Metadata{"a": "b"}},
		"str8":               {"\x81\xd9\x01a\xd9\x01b", message.Metadata{"a": "b"}},
		"str16":              {"\x81\xda\x00\x01a\xda\x00\x01b", message.Metadata{"a": "b"}},
		"str32":              {"\x81\xdb\x00\x00\x00\x01a\xdb\x00\x00\x00\x01b", message.Metadata{"a": "b"}},
		"an empty map":       {"\x80", message.Metadata{}},
		"nil":                {"\xc0", message.Metadata{}},
		"two entries":        {"\x82\xa1a\xa1b\xa1c\xa0", message.Metadata{"a": "b", "c": ""}},
		"the smallest pairs": {"\x81\xa0\xa0", message.Metadata{"": ""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			msg, err := redisstream.MsgpackMarshaler{}.Unmarshal("1-0",
				map[string]any{fixture.UUIDField: "1", "metadata": test.packed, "payload": ""})
			require.NoError(t, err)
			assert.Equal(t, test.want, msg.Metadata)
			msg.Metadata.Set("can", "be written to")
		})
	}
}

func TestMsgpackMarshaler_reservesNoMetadataName(t *testing.T) {
	t.Parallel()
	metadata := message.Metadata{fixture.UUIDField: "a", "metadata": "b", "payload": "c"}
	fields, err := redisstream.MsgpackMarshaler{}.Marshal("topic", &message.Message{UUID: "1", Metadata: metadata})
	require.NoError(t, err)
	msg, err := redisstream.MsgpackMarshaler{}.Unmarshal("1-0", asRead(fields))
	require.NoError(t, err)
	assert.Equal(t, "1", msg.UUID)
	assert.Equal(t, metadata, msg.Metadata)
}

func TestMarshaler_refusesWhatTheFormatCannotKeep(t *testing.T) {
	t.Parallel()
	with := func(key, value string) *message.Message {
		return &message.Message{UUID: "1", Metadata: message.Metadata{key: value}}
	}
	tests := map[string]struct {
		format format
		msg    *message.Message
		names  string
	}{
		"json, the UUID's name":        {redisstream.JSONMarshaler{}, with(fixture.UUIDField, "x"), fixture.UUIDField},
		"json, UUID not UTF-8":         {redisstream.JSONMarshaler{}, &message.Message{UUID: "a\xff"}, `"a\xff"`},
		"json, key not UTF-8":          {redisstream.JSONMarshaler{}, with("a\xff", "x"), `"a\xff"`},
		"json, value not UTF-8":        {redisstream.JSONMarshaler{}, with("key", "\xff"), `"key"`},
		"plain, the UUID's name":       {redisstream.PlainMarshaler{}, with(fixture.UUIDField, "x"), fixture.UUIDField},
		"plain, the payload's name":    {redisstream.PlainMarshaler{}, with("data", "x"), `"data"`},
		"plain, the payload's own one": {redisstream.PlainMarshaler{PayloadField: "body"}, with("body", "x"), `"body"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := test.format.Marshal("topic", test.msg)
			assert.ErrorContains(t, err, test.names)
		})
	}
}

func TestUnmarshaler_ignoresUnknownFields(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]map[string]any{
		"msgpack": {fixture.UUIDField: "1", "metadata": "", "payload": "x", "more": "y", "": "z"},
		"json":    {"data": "x", "metadata": `{"` + fixture.UUIDField + `":"1"}`, "more": "y", "": "z"},
	} {
		msg, err := formats[name].Unmarshal("1-0", fields)
		require.NoError(t, err, name)
		assert.Equal(t, "1", msg.UUID)
		assert.Equal(t, "x", string(msg.Payload))
		assert.Empty(t, msg.Metadata)
	}
}

func TestUnmarshaler_toleratesMissingOptionalFields(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]map[string]any{
		"msgpack":    {fixture.UUIDField: "1-0"},
		"json":       {"data": ""},
		"plain":      {"data": ""},
		"plain body": {"body": ""},
	} {
		msg, err := formats[name].Unmarshal("1-0", fields)
		require.NoError(t, err, name)
		assert.Equal(t, "1-0", msg.UUID)
		assert.Empty(t, msg.Payload)
		assert.Empty(t, msg.Metadata)
		msg.Metadata.Set("can", "be written to")
	}
}

func TestUnmarshaler_namesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		format string
		fields map[string]any
		field  string
	}{
		"msgpack, nothing":                {"msgpack", nil, fixture.UUIDField},
		"msgpack, a plain entry":          {"msgpack", map[string]any{"data": "x"}, fixture.UUIDField},
		"msgpack, UUID not a string":      {"msgpack", map[string]any{fixture.UUIDField: 1}, fixture.UUIDField},
		"msgpack, metadata not a map":     {"msgpack", map[string]any{fixture.UUIDField: "1", "metadata": "\xa1a"}, "metadata"},
		"msgpack, metadata in JSON":       {"msgpack", map[string]any{fixture.UUIDField: "1", "metadata": `{"a":"b"}`}, "metadata"},
		"msgpack, metadata cut in header": {"msgpack", map[string]any{fixture.UUIDField: "1", "metadata": "\xde\x00"}, "metadata"},
		"msgpack, metadata cut in key":    {"msgpack", map[string]any{fixture.UUIDField: "1", "metadata": "\x81\xa5abc"}, "metadata"},
		"msgpack, metadata cut in value":  {"msgpack", map[string]any{fixture.UUIDField: "1", "metadata": "\x81\xa1a\xa5abc"}, "metadata"},
		"msgpack, metadata of numbers":    {"msgpack", map[string]any{fixture.UUIDField: "1", "metadata": "\x81\xa1a\x05"}, "metadata"},
		"json, nothing":                   {"json", nil, "data"},
		"json, data not a string":         {"json", map[string]any{"data": 1}, "data"},
		"json, metadata not JSON":         {"json", map[string]any{"data": "x", "metadata": "{"}, "metadata"},
		"json, metadata in MessagePack":   {"json", map[string]any{"data": "x", "metadata": "\x81\xa1a\xa1b"}, "metadata"},
		"json, metadata a list":           {"json", map[string]any{"data": "x", "metadata": "[]"}, "metadata"},
		"plain, nothing":                  {"plain", nil, "data"},
		"plain, another payload field":    {"plain", map[string]any{"body": "x"}, "data"},
		"plain, payload not a string":     {"plain", map[string]any{"data": 1}, "data"},
		"plain body, nothing":             {"plain body", map[string]any{"data": "x"}, "body"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := formats[test.format].Unmarshal("1-0", test.fields)
			require.ErrorIs(t, err, redisstream.ErrInvalidEntry)
			assert.ErrorContains(t, err, fmt.Sprintf("%q", test.field))
		})
	}
}

func TestJSONMarshaler_writesWhatDaprReads(t *testing.T) {
	t.Parallel()
	const event = `{"specversion": "1.0"}`
	fields, err := redisstream.JSONMarshaler{}.Marshal("topic",
		&message.Message{UUID: "1", Metadata: message.Metadata{"k": "v"}, Payload: message.Payload(event)})
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"data":     event, // unchanged
		"metadata": `{"_watermill_message_uuid":"1","k":"v"}`,
	}, addAndRead(t, fields).Values)
}

func TestJSONMarshaler_readsWhatDaprWrites(t *testing.T) {
	t.Parallel()
	event := `{"id":"5929aaac","specversion":"1.0","data":{"orderId":"1"}}`
	tests := map[string]struct {
		fields []string
		want   message.Metadata
	}{
		"no metadata":       {[]string{"data", event}, message.Metadata{}},
		"metadata":          {[]string{"data", event, "metadata", `{"ttlInSeconds":"5"}`}, message.Metadata{"ttlInSeconds": "5"}},
		"empty metadata":    {[]string{"data", event, "metadata", `{}`}, message.Metadata{}},
		"metadata of null":  {[]string{"data", event, "metadata", `null`}, message.Metadata{}},
		"metadata is empty": {[]string{"data", event, "metadata", ``}, message.Metadata{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entry := addAndRead(t, test.fields)
			msg, err := redisstream.JSONMarshaler{}.Unmarshal(entry.ID, entry.Values)
			require.NoError(t, err)
			assert.Equal(t, entry.ID, msg.UUID)
			assert.Equal(t, event, string(msg.Payload))
			assert.Equal(t, test.want, msg.Metadata)
			msg.Metadata.Set("can", "be written to")
		})
	}
}

func TestPlainMarshaler_readsAPlainEntry(t *testing.T) {
	t.Parallel()
	entry := addAndRead(t, []string{"data", "23.5", "sensor", "attic", "unit", "C"})
	msg, err := redisstream.PlainMarshaler{}.Unmarshal(entry.ID, entry.Values)
	require.NoError(t, err)
	assert.Equal(t, entry.ID, msg.UUID)
	assert.Equal(t, "23.5", string(msg.Payload))
	assert.Equal(t, message.Metadata{"sensor": "attic", "unit": "C"}, msg.Metadata)

	msg, err = redisstream.PlainMarshaler{PayloadField: "sensor"}.Unmarshal(entry.ID, entry.Values)
	require.NoError(t, err)
	assert.Equal(t, "attic", string(msg.Payload))
	assert.Equal(t, message.Metadata{"data": "23.5", "unit": "C"}, msg.Metadata)
}

func TestPlainMarshaler_writesAPlainEntry(t *testing.T) {
	t.Parallel()
	fields, err := redisstream.PlainMarshaler{PayloadField: "body"}.Marshal("topic",
		&message.Message{UUID: "1", Metadata: message.Metadata{"sensor": "attic"}, Payload: message.Payload("23.5")})
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"body": "23.5", "sensor": "attic", fixture.UUIDField: "1"}, addAndRead(t, fields).Values)
}

// csv is a user's format.
type csv struct{}

func (csv) Marshal(topic string, msg *message.Message) (map[string]any, error) {
	return map[string]any{"csv": msg.UUID + "," + topic + "," + string(msg.Payload)}, nil
}

func (csv) Unmarshal(_ string, fields map[string]any) (*message.Message, error) {
	text, _ := fields["csv"].(string)
	columns := strings.SplitN(text, ",", 3)
	if len(columns) != 3 {
		return nil, errors.New("not a line of three columns")
	}
	return message.NewMessage(columns[0], []byte(columns[2])), nil
}

func TestMarshaler_ofAUserThroughPublisherAndSubscriber(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	topic := fixture.NewTopic(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: client, Marshaler: csv{}})
	subscriber, err := redisstream.NewSubscriber(
		redisstream.SubscriberConfig{Client: client, Unmarshaler: csv{}, ConsumerGroup: "group"}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })

	require.NoError(t, publisher.Publish(topic, message.NewMessage("1", []byte("a,b,c"))))
	entries, err := client.XRange(t.Context(), topic, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, map[string]any{"csv": "1," + topic + ",a,b,c"}, entries[0].Values)

	messages, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	msg := redistest.Within(t, "the message", messages)
	assert.Equal(t, "1", msg.UUID)
	assert.Equal(t, "a,b,c", string(msg.Payload))
	assert.True(t, msg.Ack())
}
