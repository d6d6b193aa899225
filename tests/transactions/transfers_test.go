package transactions

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// workerVariable is set in the environment of a worker process: its topic. addrVariable is the
// server.
const (
	workerVariable = "REDISSTREAM_TRANSFER_WORKER"
	addrVariable   = "REDISSTREAM_TRANSFER_ADDR"
)

// transfer is what a message asks for.
type transfer struct{ from, to, amount int }

func (t transfer) payload() []byte { return fmt.Appendf(nil, "%d %d %d", t.from, t.to, t.amount) }

// work is the main function of a worker process. It moves money until it is killed.
func work(topic string) {
	client := redis.NewClient(&redis.Options{Addr: os.Getenv(addrVariable)})
	config := fixture.FastClaimConfig()
	config.Client, config.MaxInFlight = client, 4
	subscriber, err := redisstream.NewSubscriber(config, nil)
	if err != nil {
		panic(err)
	}
	messages, err := subscriber.Subscribe(context.Background(), topic)
	if err != nil {
		panic(err)
	}
	publisher := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	for range config.MaxInFlight {
		go func() {
			for msg := range messages {
				if err := move(topic, publisher, msg); err != nil {
					msg.Nack()
				} else {
					msg.Ack()
				}
			}
		}()
	}
	select {}
}

// move makes a transfer and publishes an event with the UUID of its message.
func move(topic string, publisher *redisstream.TxPublisher, msg *message.Message) error {
	var t transfer
	if _, err := fmt.Sscan(string(msg.Payload), &t.from, &t.to, &t.amount); err != nil {
		return err
	}
	time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	return redisstream.Commit(msg.Context(), func(tx redis.Pipeliner) error {
		tx.HIncrBy(msg.Context(), topic+":accounts", strconv.Itoa(t.from), -int64(t.amount))
		tx.HIncrBy(msg.Context(), topic+":accounts", strconv.Itoa(t.to), int64(t.amount))
		return publisher.In(tx).Publish(topic+":moved", message.NewMessage(msg.UUID, msg.Payload))
	})
}

// startWorker starts a worker process that is killed when the test ends.
func startWorker(b *fixture.Bench) *exec.Cmd {
	b.Helper()
	return fixture.StartWorker(b, workerVariable+"="+b.Topic, addrVariable+"="+b.Server.Addr)
}

// Workers are killed and stopped past their leases while they move money between accounts. Every
// balance is right, and each event is in the stream once.
func TestCommit_transfersWhileWorkersDie(t *testing.T) {
	t.Parallel()
	const transfers, accounts, workers = 1000, 20, 3
	b := fixture.New(t)
	messages := fixture.Numbered("transfer", transfers)
	var balances [accounts]int
	for _, msg := range messages {
		one := transfer{rand.IntN(accounts), rand.IntN(accounts), 1 + rand.IntN(100)}
		msg.Payload = one.payload()
		balances[one.from] -= one.amount
		balances[one.to] += one.amount
	}
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	require.NoError(t, b.Client.XGroupCreateMkStream(t.Context(), b.Topic, "g", "0").Err())
	var running [workers]*exec.Cmd
	for i := range running {
		running[i] = startWorker(b)
	}
	deadline := time.Now().Add(2 * time.Minute)
	moved := func() int64 { return b.Client.XLen(t.Context(), b.Topic+":moved").Val() }
	for round := 0; moved() < transfers || b.Pending() > 0; round++ {
		require.True(t, time.Now().Before(deadline), "%d of %d transfers, %d pending", moved(), transfers, b.Pending())
		if batch := round * transfers / 10; batch < transfers { // some come in each round
			require.NoError(t, publisher.Publish(b.Topic, messages[batch:batch+transfers/10]...))
		}
		time.Sleep(50 * time.Millisecond)
		victim := &running[round%workers]
		if round%2 == 0 {
			fixture.KillWorker(*victim)
			*victim = startWorker(b)
			continue
		}
		require.NoError(t, (*victim).Process.Signal(syscall.SIGSTOP))
		time.Sleep(500 * time.Millisecond) // others take its entries over
		require.NoError(t, (*victim).Process.Signal(syscall.SIGCONT))
	}
	assert.ElementsMatch(t, fixture.UUIDs(messages), fixture.StoredUUIDs(t, b.Client, b.Topic+":moved"))
	stored := b.Client.HGetAll(t.Context(), b.Topic+":accounts").Val()
	for i, balance := range balances {
		assert.Equal(t, strconv.Itoa(balance), stored[strconv.Itoa(i)], "account %d", i)
	}
}
