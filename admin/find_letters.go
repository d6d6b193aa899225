package admin

import (
	"cmp"
	"context"
	"maps"
	"strings"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// letter is a dead letter with the UUID. The ID of the message is that of its entry in the topic.
type letter struct {
	Message

	id, group, reason string
}

// searchLetters collects the dead letters with the UUID, once: each place tells which groups gave the
// message up.
func (s *search) searchLetters(ctx context.Context) error {
	if s.searched {
		return nil
	}
	span := stream.Span{From: "-", Match: s.match}
	for entry, err := range stream.ReadEntries(ctx, s.client, redisstream.DeadLetterTopic(s.topic), span) {
		if err != nil {
			return topicError(s.topic, err)
		}
		if letter, found := s.letterOf(entry); found {
			s.letters = append(s.letters, letter)
		}
	}
	s.searched = true
	return nil
}

// deadLetterPrefix begins the names of fields that describe a dead letter.
var deadLetterPrefix = strings.TrimSuffix(redisstream.DeadLetterStreamKey, "stream")

// letterOf returns a dead letter, if it is of the topic and has the UUID.
func (s *search) letterOf(entry stream.Stored) (l letter, found bool) {
	fields, _ := fieldsOf(entry)
	about := func(key string) string { text, _ := fields[key].(string); return text }
	if origin := about(redisstream.DeadLetterStreamKey); origin != "" && origin != s.topic {
		return l, false
	}
	l = letter{id: entry.ID, group: about(redisstream.DeadLetterGroupKey), reason: about(redisstream.DeadLetterReasonKey)}
	entryID := cmp.Or(about(redisstream.DeadLetterIDKey), entry.ID)
	maps.DeleteFunc(fields, func(name string, _ any) bool { return strings.HasPrefix(name, deadLetterPrefix) })
	if !s.has(fields) {
		return l, false
	}
	l.Message = s.decodeFields(s.topic, entryID, fields, sizeOf(fields))
	return l, l.Err == nil && l.UUID == s.uuid
}
