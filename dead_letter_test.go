package redisstream_test

import (
	"testing"

	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
)

func TestDeadLetterTopic(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"orders":       "{orders}:dead-letter",
		"{shop}orders": "{shop}orders:dead-letter",
		"a{b}c{d}":     "a{b}c{d}:dead-letter",
		"a{b":          "{a{b}:dead-letter",
		"a{}b":         "a{}b:dead-letter",
	} {
		assert.Equal(t, want, redisstream.DeadLetterTopic(topic))
	}
}
