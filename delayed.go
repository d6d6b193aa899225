package redisstream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

const delayedSuffix = ":delayed"

// DelayedKey returns the sorted set of the delayed messages of topic: "{orders}:delayed" for
// "orders". Both are in one hash slot of a cluster, as DeadLetterTopic explains.
func DelayedKey(topic string) string { return inSlotOf(topic, delayedSuffix) }

// inSlotOf returns the name of another key that is in the hash slot of topic.
func inSlotOf(topic, suffix string) string {
	if hasHashTag(topic) || strings.Contains(topic, "}") {
		return topic + suffix
	}
	return "{" + topic + "}" + suffix
}

var errNoSlot = errors.New(`a topic with a "}" and without a hash tag can't have delayed messages in a cluster`)

// delayed makes the request one for later, if the message has the metadata of Watermill's package
// components/delay.
func (p *Publisher) delayed(stream string, msg *message.Message, request *stream.AddRequest) error {
	wait, err := delayOf(msg.Metadata, time.Now())
	if err != nil || wait <= 0 {
		return err
	}
	if _, cluster := p.config.Client.(*redis.ClusterClient); cluster && !hasHashTag(DelayedKey(stream)) {
		return errNoSlot
	}
	return request.DelayBy(DelayedKey(stream), wait)
}

// delayOf returns how long a message is delayed; 0 or less: not at all.
//
// delay.Message writes a time, without the fraction of its second, and a duration. The duration is
// exact when the message is new. It is out of date when the message is published again, as by a
// requeuer. So the message is due when the duration is over, but within the second of the time.
func delayOf(metadata message.Metadata, now time.Time) (time.Duration, error) {
	untilText, forText := metadata.Get(delay.DelayedUntilKey), metadata.Get(delay.DelayedForKey)
	if untilText == "" && forText == "" {
		return 0, nil
	}
	var until time.Duration
	if untilText != "" {
		at, err := time.Parse(time.RFC3339, untilText)
		if err != nil {
			return 0, fmt.Errorf("metadata %q: %w", delay.DelayedUntilKey, err)
		}
		until = at.Sub(now)
	}
	if forText == "" {
		return until, nil
	}
	exact, err := time.ParseDuration(forText)
	if err != nil {
		return 0, fmt.Errorf("metadata %q: %w", delay.DelayedForKey, err)
	}
	if untilText == "" {
		return exact, nil
	}
	return max(until, min(exact, until+time.Second)), nil
}

// armMovers makes sure that the delayed messages of a call are moved, as long as this Publisher
// lives.
func (p *Publisher) armMovers(call *publication) {
	var first map[string]time.Duration // by stream
	for i := range call.requests {
		if later := call.requests[i].Later; later != nil {
			if first == nil {
				first = make(map[string]time.Duration)
			}
			stream := call.stream(i)
			if earliest, known := first[stream]; !known || later.Delay < earliest {
				first[stream] = later.Delay
			}
		}
	}
	for stream, wait := range first {
		p.movers.arm(stream, wait)
	}
}
