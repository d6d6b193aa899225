package redisstream_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
)

func TestPublishError_reportsHowMany(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	err := fmt.Errorf("wrapped: %w", &redisstream.PublishError{
		Topic: "orders", Published: fixture.Numbered("p", 3), Failed: fixture.Numbered("f", 2), Uncertain: fixture.Numbered("u", 1), Err: cause,
	})
	assert.EqualError(t, err, `wrapped: publish to "orders": 3 messages published, 2 failed, 1 uncertain: the cause`)
	assert.ErrorIs(t, err, cause)
}
