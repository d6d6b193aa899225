package retries

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lateReplies withholds the replies of the script that puts entries into the retry queue.
type lateReplies struct {
	release chan struct{}
	failure error // what the caller gets instead; nil: the reply
}

func (lateReplies) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h lateReplies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, command)
		// The stream, the queue and its entries are its keys.
		if args := command.Args(); err == nil && strings.HasPrefix(fmt.Sprint(args[0]), "eval") && fmt.Sprint(args[2]) == "3" && strings.Contains(fmt.Sprint(args[4]), ":retry:") {
			<-h.release
			if h.failure != nil {
				command.SetErr(h.failure)
				return h.failure
			}
		}
		return err
	}
}

func (lateReplies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// The wait is over, and our own reader has taken the message, before the reply to the script that
// put it into the retry queue comes. It is delivered at once, and once, and not when its lease is over.
func TestRetryAfter_replyComesAfterTheMessageIsDue(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"a reply": nil, "no reply": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture.New(t)
			client := b.Server.Client(t)
			hook := lateReplies{make(chan struct{}), failure}
			client.AddHook(hook)
			config := slowLease()
			config.Client, config.MaxInFlight = client, 2
			_, messages := b.Subscribe(config)
			publishWithMetadata(b, 1)
			msg := fixture.Receive(t, messages)
			entry := fixture.EntryOf(t, msg)
			wait := config.ClaimMinIdle/2 + 100*time.Millisecond
			nacked := retryAfter(msg, wait)
			b.Eventually("taken from the queue", func() bool {
				return b.Client.HGet(t.Context(), redisstream.RetryQueueKey(b.Topic, "g")+":entries", entry.ID+":holder").Val() != ""
			})
			taken := time.Now()
			time.Sleep(100 * time.Millisecond) // the reader gets the reply
			close(hook.release)
			comesAgain(b, messages, entry, nacked, wait)
			assert.Less(t, time.Since(taken), config.ClaimMinIdle-time.Second)
			nothingIsLeft(b)
			fixture.NothingComes(t, messages, config.ClaimMinIdle)
			require.Zero(t, queued(b))
		})
	}
}
