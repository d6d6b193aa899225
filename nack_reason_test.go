package redisstream_test

import (
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
)

func TestNackWithReason_ofAnotherPubSub(t *testing.T) {
	t.Parallel()
	msg := message.NewMessage("1", nil)
	assert.True(t, redisstream.NackWithReason(msg, errors.New("reason")))
	assert.False(t, msg.Ack())
}
