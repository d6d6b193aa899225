package redisstreamotel_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/redisstreamotel"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// providers are what a process may have: no tracer, one that samples nothing, and one that records
// everything and exports nothing.
func providers() map[string]trace.TracerProvider {
	return map[string]trace.TracerProvider{
		"no tracer":   noop.NewTracerProvider(),
		"sampled out": sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
		"recorded":    sdktrace.NewTracerProvider(),
	}
}

// What a call costs by itself, without a server.
func BenchmarkPublish(b *testing.B) {
	msg := message.NewMessage("uuid", []byte("coffee"))
	nowhere := publisherFunc(func(string, ...*message.Message) error { return nil })
	for name, provider := range providers() {
		publisher := redisstreamotel.NewPublisher(nowhere, redisstreamotel.WithTracerProvider(provider))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, publisher.Publish("orders", msg))
			}
		})
	}
}

func BenchmarkMiddleware(b *testing.B) {
	msg := message.NewMessage("uuid", []byte("coffee"))
	ctx := redisstream.ContextWithEntry(context.Background(), redisstream.Entry{Stream: "orders", ID: "1-1", Group: "g", Deliveries: 1})
	for name, provider := range providers() {
		handler := redisstreamotel.Middleware(redisstreamotel.WithTracerProvider(provider))(ok)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				msg.SetContext(ctx)
				_, err := handler(msg)
				require.NoError(b, err)
			}
		})
	}
}

// Calls with a server, one after the other; "bare" is without the decorator.
func BenchmarkPublish_server(b *testing.B) {
	client := redistest.Shared().Client(b)
	library, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, MaxLen: 1000}, nil)
	require.NoError(b, err)
	defer library.Close()
	publishers := map[string]message.Publisher{"bare": library}
	for name, provider := range providers() {
		publishers[name] = redisstreamotel.NewPublisher(library, redisstreamotel.WithTracerProvider(provider))
	}
	for name, publisher := range publishers {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, publisher.Publish("bench", fixture.Numbered("m", 1)...))
			}
		})
	}
}
