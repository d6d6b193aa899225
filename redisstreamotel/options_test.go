package redisstreamotel_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Without options the global provider and propagator count. As long as there is no propagator, W3C
// trace context goes with the messages; one may be set later.
//
//nolint:paralleltest // it changes globals
func TestDefaults(t *testing.T) {
	t.Cleanup(func() {
		otel.SetTracerProvider(noop.NewTracerProvider())
		otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator())
	})
	otel.SetTracerProvider(sdktrace.NewTracerProvider())
	var metadata message.Metadata
	publisher := redisstreamotel.NewPublisher(publisherFunc(func(_ string, messages ...*message.Message) error {
		metadata = messages[0].Metadata
		return nil
	}))
	require.NoError(t, publisher.Publish("orders", message.NewMessage("m", nil)))
	assert.Contains(t, metadata, "traceparent")

	otel.SetTextMapPropagator(propagation.Baggage{})
	require.NoError(t, publisher.Publish("orders", message.NewMessage("m", nil)))
	assert.Empty(t, metadata, "the global propagator counts")
}

// A propagator without fields propagates nothing.
func TestWithPropagator_none(t *testing.T) {
	t.Parallel()
	b := newTraced(t)
	options := []redisstreamotel.Option{
		redisstreamotel.WithTracerProvider(b.provider), redisstreamotel.WithPropagator(propagation.NewCompositeTextMapPropagator()),
	}
	var metadata message.Metadata
	publisher := redisstreamotel.NewPublisher(publisherFunc(func(_ string, messages ...*message.Message) error {
		metadata = messages[0].Metadata
		return nil
	}), options...)
	require.NoError(t, publisher.Publish("orders", message.NewMessage("m", nil)))
	assert.Empty(t, metadata)
	b.only("publish orders")
}
