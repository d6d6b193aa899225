package inspecting

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hidden is a format whose entries don't show the UUID.
type hidden struct{}

func (hidden) Unmarshal(_ string, fields map[string]any) (*message.Message, error) {
	text, _ := fields["secret"].(string)
	uuid, err := base64.StdEncoding.DecodeString(text)
	return message.NewMessage(string(uuid), nil), err
}

// A message is found in each format, in the topic and among the dead letters, and nothing else is.
func TestFind_formats(t *testing.T) {
	t.Parallel()
	const uuidField = fixture.UUIDField
	for name, test := range map[string]struct {
		unmarshaler redisstream.Unmarshaler
		uuid        string // empty: the ID of the entry
		entry       []string
		others      [][]string
	}{
		"msgpack": {
			redisstream.MsgpackMarshaler{},
			"coffee",
			[]string{uuidField, "coffee", "payload", "x"},
			[][]string{{uuidField, "tea", "payload", "coffee"}, {uuidField, "coffee", "payload", "", uuidField, "tea"}, {"a", "coffee"}},
		},
		"msgpack, empty": {redisstream.MsgpackMarshaler{}, " ", []string{uuidField, " "}, [][]string{{uuidField, ""}}},
		"plain": {
			redisstream.PlainMarshaler{PayloadField: "body"},
			"coffee",
			[]string{"body", "x", uuidField, "coffee"},
			[][]string{{"body", "coffee"}, {"body", "x", "order", "coffee"}},
		},
		"plain without a UUID": {redisstream.PlainMarshaler{}, "", []string{"data", "x"}, [][]string{{"data", "x", uuidField, "tea"}}},
		"JSON": {
			redisstream.JSONMarshaler{},
			"coffee",
			[]string{"data", "x", "metadata", `{"a":"b","_watermill_message_uuid":"coffee"}`},
			[][]string{{"data", "coffee", "metadata", `{"a":"coffee"}`}, {"data", "x", "metadata", `{"a":"\"coffee"}`}},
		},
		"JSON of another library": {
			redisstream.JSONMarshaler{},
			"coffee",
			[]string{"data", "x", "metadata", `{"_watermill_message_uuid" : "\u0063of\u0066ee"}`},
			[][]string{{"data", "x", "metadata", `{"_watermill_message_uuid" : "te\u0061"}`}},
		},
		"JSON with an escaped UUID": {
			redisstream.JSONMarshaler{},
			`<"ü">`,
			[]string{"data", "", "metadata", `{"_watermill_message_uuid":"\u003c\"ü\"\u003e"}`},
			[][]string{{"data", `<"ü">`}},
		},
		"JSON without a UUID": {redisstream.JSONMarshaler{}, "", []string{"data", "x"}, [][]string{{"data", "x", "metadata", `{"_watermill_message_uuid":"tea"}`}}},
		"hidden":              {hidden{}, "coffee", []string{"secret", "Y29mZmVl"}, [][]string{{"secret", "dGVh"}, {"secret", "coffee"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			a, err := admin.New(admin.Config{Client: b.Client, Unmarshaler: test.unmarshaler})
			require.NoError(t, err)
			add := func(key string, fields []string) string {
				id, err := b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: fields}).Result()
				require.NoError(t, err)
				return id
			}
			addLetter := func(id string, fields []string) string {
				about := []string{
					redisstream.DeadLetterStreamKey, b.Topic, redisstream.DeadLetterIDKey, id,
					redisstream.DeadLetterGroupKey, "g", redisstream.DeadLetterReasonKey, "no milk",
				}
				return add(redisstream.DeadLetterTopic(b.Topic), append(about, fields...))
			}
			for _, other := range test.others {
				addLetter(add(b.Topic, other), other)
			}
			id := add(b.Topic, test.entry)
			b.Do("XGROUP", "CREATE", b.Topic, "g", "$")
			letter := addLetter(id, test.entry)
			for _, other := range test.others {
				addLetter(add(b.Topic, other), other)
			}
			uuid := test.uuid
			if uuid == "" {
				uuid = id
			}
			want := []admin.Handling{{Group: "g", Status: admin.StatusDeadLettered, DeadLetter: letter, Reason: "no milk"}}
			var places []admin.Place
			for _, found := range all(b, a.Find(t.Context(), b.Topic, uuid, admin.Range{})) {
				assert.Equal(t, uuid, found.UUID)
				assert.Equal(t, id, found.ID)
				assert.Equal(t, want, found.Groups)
				assert.Len(t, found.Fields, len(test.entry)/2)
				places = append(places, found.Place)
			}
			assert.Equal(t, []admin.Place{admin.InTopic, admin.InDeadLetters}, places)
			assert.Empty(t, all(b, a.Find(t.Context(), b.Topic, "nowhere", admin.Range{})))
		})
	}
}

// The dead letters of another topic in the same stream are not those of the topic.
func TestFind_deadLettersOfAnotherTopic(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Do("XADD", redisstream.DeadLetterTopic(b.Topic), "*", fixture.UUIDField, "coffee", redisstream.DeadLetterStreamKey, "{"+b.Topic+"}")
	assert.Empty(t, all(b, newAdmin(b).Find(t.Context(), b.Topic, "coffee", admin.Range{})))
	b.Do("XADD", redisstream.DeadLetterTopic(b.Topic), "*", fixture.UUIDField, "coffee")
	assert.Len(t, all(b, newAdmin(b).Find(t.Context(), b.Topic, "coffee", admin.Range{})), 1)
}

// The server searches: what does not match is not sent. Large entries, and such with many fields,
// make pages smaller, and none is passed over.
func TestFind_searchesOnTheServer(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	proxy := redistest.NewProxy(t, b.Server.Addr, 0)
	client := b.Server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr })
	a, err := admin.New(admin.Config{Client: client})
	require.NoError(t, err)
	var wanted []string
	add := func(n int, values ...any) {
		pipe := b.Client.Pipeline()
		for range n {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: append([]any{fixture.UUIDField, "other"}, values...)})
		}
		last := pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []any{fixture.UUIDField, "wanted"}})
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		wanted = append(wanted, last.Val())
	}
	add(3000, "payload", strings.Repeat("x", 1000))
	add(12, "payload", strings.Repeat("x", 1<<20))
	wide := make([]any, 0, 4000)
	for i := range 2000 {
		wide = append(wide, strconv.Itoa(i), "x")
	}
	add(20, wide...)
	add(0)
	find := func(r admin.Range) (ids []string) {
		for _, found := range all(b, a.Find(t.Context(), b.Topic, "wanted", r)) {
			ids = append(ids, found.ID)
		}
		return ids
	}
	assert.Equal(t, wanted, find(admin.Range{}))
	_, replied := proxy.Carried()
	assert.Less(t, replied, int64(100<<10))
	assert.Equal(t, []string{wanted[3], wanted[2], wanted[1], wanted[0]}, find(admin.Range{Reverse: true}))
	assert.Equal(t, wanted[1:3], find(admin.Range{From: wanted[1], To: "(" + wanted[3]}))
	assert.Equal(t, []string{wanted[2], wanted[1]}, find(admin.Range{From: "(" + wanted[0], To: wanted[2], Reverse: true}))
	b.Do("DEL", b.Topic)
	assert.Empty(t, find(admin.Range{}))
}
