package redisstream_test

import (
	"context"
	"errors"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRedisLogger(t *testing.T) {
	t.Parallel()
	var log redistest.Log
	logger := redisstream.RedisLogger(log.Logger())
	logger.Printf(context.Background(), "pool: connection to %s failed: %v", "127.0.0.1:1", errors.New("refused"))
	logger.Printf(context.Background(), "%v", errors.New("ERR unknown command 'AUTH', with args beginning with: 'secret'"))
	redisstream.RedisLogger(nil).Printf(context.Background(), "nothing")
	require.Len(t, log.Lines(), 2)
	assert.Contains(t, log.Lines()[0], "pool: connection to 127.0.0.1:1 failed: refused")
	assert.Zero(t, log.Count("secret"))
	assert.Equal(t, 2, log.Count("level=INFO"))
}
