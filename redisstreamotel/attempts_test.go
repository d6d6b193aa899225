package redisstreamotel //nolint:testpackage // the table is inside

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/trace"
)

func numbered(i int) attempt { return attempt{"orders", "g", strconv.Itoa(i)} }

func spanContext(i byte) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{i + 1}})
}

// The last attempts are remembered, and their number has a bound.
func TestAttempts_bound(t *testing.T) {
	t.Parallel()
	var a attempts
	const total = 5*maxAttempts + 10
	for i := range total {
		a.put(numbered(i), spanContext(byte(i%200)))
		assert.LessOrEqual(t, len(a.newer)+len(a.older), 2*maxAttempts)
	}
	for i := total - maxAttempts; i < total; i++ {
		assert.Equal(t, spanContext(byte(i%200)), a.get(numbered(i)))
	}
	assert.False(t, a.get(numbered(0)).IsValid())
}

// The newest attempt counts, and one that succeeded is forgotten, in both halves.
func TestAttempts_newest(t *testing.T) {
	t.Parallel()
	var a attempts
	a.put(numbered(0), spanContext(1))
	for i := range maxAttempts {
		a.put(numbered(i+1), spanContext(2))
	}
	assert.Equal(t, spanContext(1), a.get(numbered(0)), "in the older half")
	a.put(numbered(0), spanContext(3))
	assert.Equal(t, spanContext(3), a.get(numbered(0)))
	a.forget(numbered(0))
	assert.False(t, a.get(numbered(0)).IsValid())
	assert.False(t, a.get(attempt{"orders", "another", "1"}).IsValid())
}
