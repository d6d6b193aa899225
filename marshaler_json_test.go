package redisstream_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Metadata of other writers, in Python or Node, has more than strings.
func TestJSONMarshaler_metadataIsAnyJSON(t *testing.T) {
	t.Parallel()
	for json, want := range map[string]message.Metadata{
		`{"s":"text","e":""}`:   {"s": "text", "e": ""},
		`{"s":"\u00fc\n\"1\""}`: {"s": "ü\n\"1\""},
		`{"i":3,"big":12345678901234567890123,"f":1.50,"x":-1e3}`: {"i": "3", "big": "12345678901234567890123", "f": "1.50", "x": "-1e3"},
		`{"yes":true,"no":false,"none":null}`:                     {"yes": "true", "no": "false", "none": "null"},
		`{"o":{ "b": [1, "two"],  "a":null}, "l":[ ]}`:            {"o": `{"b":[1,"two"],"a":null}`, "l": "[]"},
		`{"o":{"html":"<a&b>"}}`:                                  {"o": `{"html":"<a&b>"}`},
		`{}`:                                                      {},
		`null`:                                                    {},
		` {"traceparent" : "00-1-1-01" , "retries" : 2 } `: {"traceparent": "00-1-1-01", "retries": "2"},
	} {
		msg, err := redisstream.JSONMarshaler{}.Unmarshal("1-0", map[string]any{"data": "payload", "metadata": json})
		require.NoError(t, err, json)
		assert.Equal(t, want, msg.Metadata, json)
		assert.Equal(t, "1-0", msg.UUID)
	}
	for _, json := range []string{`[]`, `"text"`, `3`, `{`, `{"a":}`, `{"a":1}x`} {
		_, err := redisstream.JSONMarshaler{}.Unmarshal("1-0", map[string]any{"data": "payload", "metadata": json})
		require.ErrorIs(t, err, redisstream.ErrInvalidEntry, json)
		require.ErrorContains(t, err, "metadata", json)
	}
}

func TestJSONMarshaler_UUIDThatIsANumber(t *testing.T) {
	t.Parallel()
	msg, err := redisstream.JSONMarshaler{}.Unmarshal("1-0", map[string]any{"data": "", "metadata": `{"_watermill_message_uuid":17,"n":1}`})
	require.NoError(t, err)
	assert.Equal(t, "17", msg.UUID)
	assert.Equal(t, message.Metadata{"n": "1"}, msg.Metadata)
}
