package redisstream

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// Names of keys in a topic's slot: "{orders}:producer:" and the producer's ID, "{orders}:published:"
// and the deduplication key.
const (
	producerInfix  = ":producer:"
	publishedInfix = ":published:"
)

// maxDeduplicationKey is the length up to which a deduplication key is part of the key's name on the
// server. Of a longer one it is the SHA-256.
const maxDeduplicationKey = 128

var (
	errNoProducerSlot = errors.New(`a topic with a "}" and without a hash tag can't be published to with Idempotent or DeduplicationWindow in a cluster`)
	errEmptyDedupKey  = errors.New("deduplication key is empty")
)

// once makes the request one that is added once to the stream, if the Publisher is Idempotent.
func (p *Publisher) once(topic, stream string, msg *message.Message, request *stream.AddRequest) error {
	if !p.queues.idempotent {
		return nil
	}
	if _, cluster := p.config.Client.(*redis.ClusterClient); cluster && !hasHashTag(inSlotOf(stream, producerInfix)) {
		return errNoProducerSlot
	}
	if err := request.CheckItem(); err != nil || p.config.DeduplicationWindow == 0 {
		return err
	}
	key, err := p.deduplicationKey(topic, msg)
	switch {
	case err != nil:
		return err
	case key == "":
		return errEmptyDedupKey
	case len(key) > maxDeduplicationKey:
		sum := sha256.Sum256([]byte(key))
		key = "sha256:" + hex.EncodeToString(sum[:])
	}
	request.DeduplicationKey = inSlotOf(stream, publishedInfix+key)
	return nil
}

// deduplicationKey turns a panic of the user's function into an error.
func (p *Publisher) deduplicationKey(topic string, msg *message.Message) (key string, err error) {
	if p.config.DeduplicationKey == nil {
		return msg.UUID, nil
	}
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(reason)
			p.logger.Error("DeduplicationKey panicked: the message is not published", err, fieldsOfPanic(topic, msg))
		}
	}()
	return p.config.DeduplicationKey(topic, msg), nil
}

// Duplicates returns how many messages this Publisher did not add, because another message with the
// same DeduplicationKey had been published to their topic within DeduplicationWindow.
func (p *Publisher) Duplicates() int64 { return p.queues.duplicates.Load() }
