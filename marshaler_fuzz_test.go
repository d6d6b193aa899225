package redisstream_test

import (
	"encoding/binary"
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lies returns MessagePack headers that announce more than follows.
func lies() map[string]string {
	u32 := func(code byte, n uint32) string { return string(binary.BigEndian.AppendUint32([]byte{code}, n)) }
	const half = 1 << 31
	return map[string]string{
		"map32 of 2^31":              u32(0xdf, half),
		"map32 of 2^32-1":            u32(0xdf, 1<<32-1),
		"map32 of 2^31, some follow": u32(0xdf, half) + "\xa1a\xa1b",
		"map16 of 2^16-1":            "\xde\xff\xff",
		"map32 of 2^19 in 1 MiB":     u32(0xdf, 1<<19) + strings.Repeat("\xc1", 1<<20),
		"map32 of 2^19, all empty":   u32(0xdf, 1<<19) + strings.Repeat("\xa0", 1<<20-1),
		"key str32 of 2^31":          "\x81" + u32(0xdb, half) + "abc",
		"key str32 of 2^32-1":        "\x81" + u32(0xdb, 1<<32-1),
		"key bin32 of 2^31":          "\x81" + u32(0xc6, half),
		"value str32 of 2^31":        "\x81\xa1a" + u32(0xdb, half),
		"value bin32 of 2^31":        "\x81\xa1a" + u32(0xc6, half),
		"value array32 of 2^31":      "\x81\xa1a" + u32(0xdd, half),
		"ext32 of 2^31":              u32(0xc9, half) + "\x01",
		"ext32 before a map of 2^31": u32(0xc9, half) + "\x01" + u32(0xdf, half),
	}
}

// allocatedBy returns how many bytes f allocates. Nothing else may run.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// enough returns how many bytes an Unmarshaler may allocate for an input of this size.
func enough(input int) uint64 { return 4<<20 + 4*uint64(input) }

// Not parallel: it measures allocations of the process.
func TestMsgpackMarshaler_lyingLengthAllocatesLittle(t *testing.T) {
	for name, packed := range lies() {
		t.Run(name, func(t *testing.T) {
			var err error
			bytes := allocatedBy(func() {
				_, err = redisstream.MsgpackMarshaler{}.Unmarshal("1-0", map[string]any{fixture.UUIDField: "1", "metadata": packed})
			})
			require.ErrorIs(t, err, redisstream.ErrInvalidEntry)
			assert.Less(t, bytes, enough(len(packed)))
		})
	}
}

// Not parallel: it measures allocations of the process.
func TestJSONMarshaler_nestedMetadataAllocatesLittle(t *testing.T) {
	for name, encoded := range map[string]string{
		"lists":   `{"a":` + strings.Repeat("[", 1<<20),
		"objects": strings.Repeat(`{"a":`, 1<<18),
		"escapes": `{"a":"` + strings.Repeat(`\u0000`, 1<<18),
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			bytes := allocatedBy(func() {
				_, err = redisstream.JSONMarshaler{}.Unmarshal("1-0", map[string]any{"data": "", "metadata": encoded})
			})
			require.ErrorIs(t, err, redisstream.ErrInvalidEntry)
			assert.Less(t, bytes, enough(len(encoded)))
		})
	}
}

// checkUnmarshal unmarshals the fields of a fuzz test. The error must be the documented one, the
// memory must be bounded, and the message must survive a round trip.
func checkUnmarshal(t *testing.T, format format, fields map[string]any) *message.Message {
	t.Helper()
	const id = "1700000000000-7"
	size := 0
	for name, value := range fields {
		size += len(name) + len(value.(string))
	}
	var msg *message.Message
	var err error
	allocated := allocatedBy(func() { msg, err = format.Unmarshal(id, fields) })
	require.Less(t, allocated, enough(64*size))
	if err != nil {
		require.ErrorIs(t, err, redisstream.ErrInvalidEntry)
		require.Nil(t, msg)
		return nil
	}
	require.NotNil(t, msg.Metadata)
	again, err := format.Marshal("topic", msg)
	require.NoError(t, err)
	same, err := format.Unmarshal(id, asRead(again))
	require.NoError(t, err)
	require.True(t, msg.Equals(same), "%v, after a round trip %v", msg, same)
	return msg
}

func FuzzMsgpackUnmarshal(f *testing.F) {
	f.Add("uuid", "", "payload")
	f.Add("", "\x80", "")
	f.Add("uuid", "\xc0", "")
	f.Add("uuid", "\x82\xa1a\xa1b\xd9\x01c\xda\x00\x01d", "\x00\xff")
	for _, packed := range lies() {
		if len(packed) < 100 {
			f.Add("uuid", packed, "")
		}
	}
	f.Fuzz(func(t *testing.T, uuid, metadata, payload string) {
		msg := checkUnmarshal(t, redisstream.MsgpackMarshaler{},
			map[string]any{fixture.UUIDField: uuid, "metadata": metadata, "payload": payload})
		if msg != nil {
			require.Equal(t, uuid, msg.UUID)
			require.Equal(t, payload, string(msg.Payload))
		}
	})
}

func FuzzJSONUnmarshal(f *testing.F) {
	f.Add("", "")
	f.Add(`{"id":"1"}`, `{"ttlInSeconds":"5"}`)
	f.Add("x", `{"_watermill_message_uuid":"1","a":"\ud800","b":null}`)
	f.Add("x", "null")
	f.Add("x", `{"a":{"b":[1,2]}}`)
	f.Add("x", "{\"a\":[\"\xff\"],\"b\":-0.10e7}")
	f.Add("x", "\x81\xa1a\xa1b")
	f.Fuzz(func(t *testing.T, data, metadata string) {
		msg := checkUnmarshal(t, redisstream.JSONMarshaler{}, map[string]any{"data": data, "metadata": metadata})
		require.Equal(t, metadata == "" || json.Unmarshal([]byte(metadata), &map[string]json.RawMessage{}) == nil, msg != nil)
		if msg != nil {
			require.Equal(t, data, string(msg.Payload))
		}
	})
}

func FuzzPlainUnmarshal(f *testing.F) {
	f.Add("data", "payload", "name", "value", "")
	f.Add("data", "", fixture.UUIDField, "uuid", "")
	f.Add("", "", "\xff", "\x00", "data")
	f.Add("data", "a", "data", "b", "body")
	f.Add("body", "payload", "data", "value", "body")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2, payloadField string) {
		if payloadField == fixture.UUIDField {
			return // such a configuration is not supported
		}
		fields := map[string]any{name1: value1, name2: value2}
		if fields[fixture.UUIDField] == "" {
			delete(fields, fixture.UUIDField) // an empty UUID is not written
		}
		msg := checkUnmarshal(t, redisstream.PlainMarshaler{PayloadField: payloadField}, fields)
		if payloadField == "" {
			payloadField = "data"
		}
		payload, ok := fields[payloadField]
		require.Equal(t, ok, msg != nil)
		if msg == nil {
			return
		}
		require.Equal(t, payload, string(msg.Payload))
		delete(fields, payloadField)
		delete(fields, fixture.UUIDField)
		require.Len(t, msg.Metadata, len(fields))
		for name, value := range fields {
			require.Equal(t, value, msg.Metadata[name])
		}
	})
}
