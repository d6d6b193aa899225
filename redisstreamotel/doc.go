// Package redisstreamotel connects redisstream with OpenTelemetry. NewPublisher makes spans of what
// is published, Middleware makes spans of what the handlers of Watermill's Router process, and the
// trace context is in the metadata of the messages between them.
//
// Spans follow the semantic conventions for messaging (semconv v1.43.0, status: development), with
// messaging.system "redis". docs/tracing.md in the repository shows them.
//
// NewObserver returns an Observer of a Publisher or Subscriber that records metrics, by the semantic
// conventions where they have instruments. docs/metrics.md lists them.
//
// It is a module of its own, so that package redisstream needs no OpenTelemetry.
package redisstreamotel
