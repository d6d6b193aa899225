package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/spf13/cobra"
)

const (
	maxBench     = 10_000_000
	benchCleanup = 10 * time.Second
)

// benchmark is one run of bench.
type benchmark struct {
	app      *app
	messages int
	size     int
	parallel int
	batch    int
	inFlight int
}

type benchView struct {
	Messages int        `json:"messages"`
	Size     int        `json:"payload_bytes"`
	Publish  benchPhase `json:"publish"`
	Consume  benchPhase `json:"consume"`
}

type benchPhase struct {
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"messages_per_second"`
	P50     float64 `json:"p50_ms,omitempty"` // of a call of Publish
	P99     float64 `json:"p99_ms,omitempty"`
}

func (a *app) bench() *cobra.Command {
	b := &benchmark{app: a}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast the server takes and gives messages",
		Long: `Measure how fast the server takes and gives messages, on a temporary topic that it deletes. It loads
the server: other clients wait during the run. --timeout does not count.`,
		Example: "  redisstream bench --messages 100000 --size 1000 --parallel 16",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.validate(); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(s *server) error { return b.run(cmd.Context(), s) })
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&b.messages, "messages", 20_000, "`NUMBER` of messages")
	flags.IntVar(&b.size, "size", 256, "`BYTES` of each payload")
	flags.IntVar(&b.parallel, "parallel", 8, "`NUMBER` of publishers at a time")
	flags.IntVar(&b.batch, "batch", 1, "`NUMBER` of messages in a call of Publish")
	flags.IntVar(&b.inFlight, "in-flight", 32, "`NUMBER` of handlers at a time")
	return cmd
}

func (b *benchmark) validate() error {
	for _, flag := range []struct {
		name                string
		value, least, limit int
	}{
		{"messages", b.messages, 1, maxBench},
		{"size", b.size, 0, maxPayload},
		{"parallel", b.parallel, 1, 10_000},
		{"batch", b.batch, 1, 10_000},
		{"in-flight", b.inFlight, 1, 10_000},
	} {
		if flag.value < flag.least || flag.value > flag.limit {
			return usage("--%s %d: it is from %d to %d", flag.name, flag.value, flag.least, flag.limit)
		}
	}
	return nil
}

func (b *benchmark) run(ctx context.Context, s *server) (err error) {
	topic := "redisstream-bench-" + watermill.NewShortUUID()
	defer func() {
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), benchCleanup)
		defer cancel()
		for _, key := range []string{topic, redisstream.MembersKey(topic, "bench"), redisstream.DeadLetterTopic(topic)} {
			if failure := s.client.Unlink(cleaning, key).Err(); failure != nil {
				err = errors.Join(err, fmt.Errorf("delete %s: %w", key, failure))
			}
		}
	}()
	v := benchView{Messages: b.messages, Size: b.size}
	if v.Publish, err = b.publish(ctx, s, topic); err != nil {
		return err
	}
	if v.Consume, err = b.consume(ctx, s, topic); err != nil {
		return err
	}
	if b.app.json() {
		return b.app.write(v)
	}
	l := list(b.app, []string{"", "MESSAGES/S", "TIME", "P50", "P99"}, func(row []string) []string { return row })
	ms := func(f float64) string { return fmt.Sprintf("%.2fms", f) }
	for _, row := range [][]string{
		{"publish", fmt.Sprintf("%.0f", v.Publish.Rate), fmt.Sprintf("%.2fs", v.Publish.Seconds), ms(v.Publish.P50), ms(v.Publish.P99)},
		{"consume", fmt.Sprintf("%.0f", v.Consume.Rate), fmt.Sprintf("%.2fs", v.Consume.Seconds), "-", "-"},
	} {
		if err := l.add(row); err != nil {
			return err
		}
	}
	return l.end()
}

func phase(n int, took time.Duration) benchPhase {
	return benchPhase{Seconds: took.Seconds(), Rate: float64(n) / max(took.Seconds(), 1e-9)}
}

func (b *benchmark) publish(ctx context.Context, s *server, topic string) (_ benchPhase, err error) {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: s.client}, nil)
	if err != nil {
		return benchPhase{}, err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls := (b.messages + b.batch - 1) / b.batch
	took := make([]time.Duration, calls)
	payload := bytes.Repeat([]byte("x"), b.size)
	var next atomic.Int64
	var publishers sync.WaitGroup
	begin := time.Now()
	for range b.parallel {
		publishers.Go(func() {
			for ctx.Err() == nil {
				call := int(next.Add(1)) - 1
				if call >= calls {
					return
				}
				batch := make([]*message.Message, min(b.batch, b.messages-call*b.batch))
				for i := range batch {
					batch[i] = message.NewMessage(watermill.NewUUID(), payload)
				}
				began := time.Now()
				if err := publisher.Publish(topic, batch...); err != nil {
					cancel(err)
					return
				}
				took[call] = time.Since(began)
			}
		})
	}
	publishers.Wait()
	if err := context.Cause(ctx); err != nil {
		return benchPhase{}, err
	}
	result := phase(b.messages, time.Since(begin))
	slices.Sort(took)
	result.P50, result.P99 = milliseconds(took[calls/2]), milliseconds(took[calls*99/100])
	return result, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (b *benchmark) consume(ctx context.Context, s *server, topic string) (_ benchPhase, err error) {
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: s.client, ConsumerGroup: "bench", MaxInFlight: b.inFlight,
	}, nil)
	if err != nil {
		return benchPhase{}, err
	}
	defer func() { err = errors.Join(err, subscriber.Close()) }()
	begin := time.Now()
	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return benchPhase{}, err
	}
	for range b.messages {
		select {
		case <-ctx.Done():
			return benchPhase{}, ctx.Err()
		case msg, open := <-messages:
			if !open {
				return benchPhase{}, errors.New("the subscription ended")
			}
			msg.Ack()
		}
	}
	return phase(b.messages, time.Since(begin)), nil
}
