package redisstreamotel

import (
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"go.opentelemetry.io/otel/trace"
)

// maxAttempts is half of how many failed attempts are remembered.
const maxAttempts = 4096

// attempt identifies an entry in a consumer group.
type attempt struct{ stream, group, id string }

// attemptOf returns the entry of a message. For a dead letter it is the entry that became one.
func attemptOf(entry redisstream.Entry, msg *message.Message) attempt {
	if of := msg.Metadata.Get(redisstream.DeadLetterStreamKey); of != "" && redisstream.DeadLetterTopic(of) == entry.Stream {
		return attempt{of, msg.Metadata.Get(redisstream.DeadLetterGroupKey), msg.Metadata.Get(redisstream.DeadLetterIDKey)}
	}
	return attempt{entry.Stream, entry.Group, entry.ID}
}

// attempts has the spans of deliveries that failed, so that the next delivery can be linked to them.
// When half of it is full, the older half is forgotten.
type attempts struct {
	mu           sync.Mutex
	newer, older map[attempt]trace.SpanContext
}

// get returns the span of the last attempt; not valid: none is known.
func (a *attempts) get(of attempt) trace.SpanContext {
	a.mu.Lock()
	defer a.mu.Unlock()
	if span, ok := a.newer[of]; ok {
		return span
	}
	return a.older[of]
}

func (a *attempts) put(of attempt, span trace.SpanContext) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.newer == nil || len(a.newer) >= maxAttempts {
		a.newer, a.older = make(map[attempt]trace.SpanContext), a.newer
	}
	a.newer[of] = span
}

func (a *attempts) forget(of attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.newer, of)
	delete(a.older, of)
}
