package redisstreamotel

import (
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// end ends the spans of a call with what became of each message, and puts the caller's messages into
// the error.
func (c *publication) end(err error) {
	defer c.span.End()
	if err != nil {
		fail(c.span, err)
	}
	failure, ok := errors.AsType[*redisstream.PublishError](err)
	if ok && len(c.messages) > 1 {
		c.span.SetAttributes(PublishedCountKey.Int(len(failure.Published)),
			FailedCountKey.Int(len(failure.Failed)), UncertainCountKey.Int(len(failure.Uncertain)))
	}
	var results map[*message.Message]result
	if ok {
		results = c.settle(failure)
	}
	if len(c.messages) == 1 {
		c.span.SetAttributes(results[c.sent[0]].attributes()...)
	}
	for i, span := range c.creates {
		if span != nil {
			endCreate(span, results[c.sent[i]], err)
		}
	}
}

// endCreate ends the span of one message of a call. Without a result nothing is known of the message
// but the error of the call.
func endCreate(span trace.Span, of result, err error) {
	if err != nil && of != resultPublished {
		fail(span, err)
		span.SetAttributes(of.attributes()...)
	}
	span.End()
}

// result is what became of one message of a call that failed.
type result string

const (
	resultPublished result = "published"
	resultFailed    result = OutcomeFailed
	resultUncertain result = OutcomeUncertain
)

func (r result) attributes() []attribute.KeyValue {
	if r == "" || r == resultPublished {
		return nil
	}
	return []attribute.KeyValue{OutcomeKey.String(string(r))}
}

// settle returns the result of each message that was sent, and replaces it in the error by the
// caller's.
func (c *publication) settle(failure *redisstream.PublishError) map[*message.Message]result {
	originals := make(map[*message.Message]*message.Message, len(c.sent))
	for i, msg := range c.sent {
		originals[msg] = c.messages[i]
	}
	results := make(map[*message.Message]result, len(c.sent))
	sort := func(messages []*message.Message, as result) []*message.Message {
		if len(messages) == 0 {
			return messages
		}
		list := make([]*message.Message, len(messages))
		for i, msg := range messages {
			results[msg] = as
			if list[i] = originals[msg]; list[i] == nil { // a Publisher in between has its own copies
				list[i] = msg
			}
		}
		return list
	}
	failure.Published = sort(failure.Published, resultPublished)
	failure.Failed = sort(failure.Failed, resultFailed)
	failure.Uncertain = sort(failure.Uncertain, resultUncertain)
	return results
}
