package pausing

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lostReplies loses the replies of the script that releases entries: the server has run it.
type lostReplies struct {
	most atomic.Int64 // how many are lost
	lost atomic.Int64
}

func (*lostReplies) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *lostReplies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, command)
		if !isRelease(command.Args()) || err != nil || h.most.Add(-1) < 0 {
			return err
		}
		h.lost.Add(1)
		command.SetErr(io.ErrUnexpectedEOF)
		return io.ErrUnexpectedEOF
	}
}

func (*lostReplies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// isRelease knows the script by its arguments: the first ID of a page, and the size of a page.
func isRelease(args []any) bool {
	return len(args) > 7 && strings.HasPrefix(fmt.Sprint(args[0]), "eval") && args[6] == "-" && fmt.Sprint(args[7]) == "1000"
}

// The replies to the release are lost, once or until the pause is over. Every message comes once, in
// order, with the right number of deliveries.
func TestPause_replyOfTheReleaseIsLost(t *testing.T) {
	t.Parallel()
	for _, lost := range []int64{1, 2, 1 << 40} {
		for _, workers := range []int{1, 4} {
			t.Run(fmt.Sprint(lost, " lost, MaxInFlight ", workers), func(t *testing.T) {
				t.Parallel()
				b := fixture.New(t)
				client := b.Server.Client(t)
				hook := &lostReplies{}
				client.AddHook(hook)
				config := fixture.FastClaimConfig()
				config.Client, config.MaxInFlight, config.MaxDeliveries = client, workers, 2
				if workers > 1 {
					config.OrderingKey = func(*message.Message) string { return "one" }
				}
				config.NackBackoff = func(int) time.Duration { return time.Minute }
				subscriber, messages := b.Subscribe(config)
				b.Publish(30)
				require.Equal(t, fixture.Payloads(30)[:10], fixture.ReceiveAll(t, messages, 10))
				fixture.Receive(t, messages).Nack()
				hook.most.Store(lost)
				subscriber.Pause()
				b.Eventually("a reply is lost", func() bool { return hook.lost.Load() > 0 })
				fixture.NothingComes(t, messages, 2*config.ClaimMinIdle)
				subscriber.Resume()
				for i, want := range fixture.Payloads(30)[10:] {
					msg := fixture.Receive(t, messages)
					assert.Equal(t, want, string(msg.Payload))
					deliveries := int64(1)
					if i == 0 {
						deliveries = 2
					}
					assert.Equal(t, deliveries, fixture.EntryOf(t, msg).Deliveries, want)
					require.True(t, msg.Ack())
				}
				fixture.NothingComes(t, messages, 2*config.ClaimMinIdle)
				b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
				hook.most.Store(0)
			})
		}
	}
}

// Another member gets what was released, before the one that released it knows that it did. Nobody
// gets it twice.
func TestPause_anotherMemberGetsWhatWasReleasedWithoutAReply(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	client := b.Server.Client(t)
	hook := &lostReplies{}
	client.AddHook(hook)
	config := fixture.FastClaimConfig()
	config.MaxInFlight = 4
	other := config
	config.Client = client
	subscriber, messages := b.Subscribe(config)
	b.Publish(30)
	held := fixture.Receive(t, messages)
	hook.most.Store(1 << 40)
	subscriber.Pause()
	b.Eventually("a reply is lost", func() bool { return hook.lost.Load() > 0 })
	_, others := b.Subscribe(other)
	fixture.ReceiveAll(t, others, 29)
	b.Eventually("acknowledged", func() bool { return b.Pending() == 1 })
	subscriber.Resume()
	fixture.NothingComes(t, messages, 2*config.ClaimMinIdle)
	require.True(t, held.Ack())
	b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
	fixture.NothingComes(t, others, config.ClaimMinIdle)
	hook.most.Store(0)
}
