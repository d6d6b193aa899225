package publishing

import (
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// marshalerFunc is a function as a Marshaler.
type marshalerFunc func(msg *message.Message) (map[string]any, error)

func (f marshalerFunc) Marshal(_ string, msg *message.Message) (map[string]any, error) { return f(msg) }

var errBroken = errors.New("broken")

// A Marshaler that fails in any way fails only its call.
func TestPublish_aMarshalerThatPanics(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		marshal marshalerFunc
		text    string
		is      error
		stacks  int
	}{
		"panic":               {func(*message.Message) (map[string]any, error) { panic("out of order") }, "panicked: out of order", nil, 1},
		"panic with an error": {func(*message.Message) (map[string]any, error) { panic(errBroken) }, "panicked: broken", errBroken, 1},
		"nil map": {func(*message.Message) (map[string]any, error) {
			var fields map[string]any
			fields["a"] = 1 //nolint:staticcheck // this panics
			return fields, nil
		}, "assignment to entry in nil map", nil, 1},
		"no fields":     {func(*message.Message) (map[string]any, error) { return map[string]any{}, nil }, "no fields", nil, 0},
		"nothing (nil)": {func(*message.Message) (fields map[string]any, err error) { return }, "no fields", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := redistest.Shared().Client(t)
			topic := fixture.NewTopic(t)
			var log redistest.Log
			publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Marshaler: marshalerFunc(
				func(msg *message.Message) (map[string]any, error) {
					if msg.UUID == "m-1" {
						return test.marshal(msg)
					}
					return map[string]any{"uuid": msg.UUID}, nil
				},
			)}, log.Logger())
			require.NoError(t, err)
			messages := fixture.Numbered("m", 3)
			err = publisher.Publish(topic, messages...)
			assert.Equal(t, messages, fixture.AsPublishError(t, err).Failed)
			require.ErrorContains(t, err, `message 2 of 3, UUID "m-1"`)
			require.ErrorContains(t, err, test.text)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			assert.Equal(t, test.stacks, log.Count("publishing/marshaler_test.go"), "the stack is in the log")
			assert.Zero(t, client.Exists(t.Context(), topic).Val())

			require.NoError(t, publisher.Publish(topic, fixture.Numbered("good", 2)...))
			require.NoError(t, publisher.Close(), "no call is in progress")
		})
	}
}
