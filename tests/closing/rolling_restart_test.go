package closing

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	rollingKinds     = 8 // kinds of commands, and of events
	rollingProcesses = 3
	rollingCommands  = 1500
	rollingRestarts  = 6
)

// rollingEnv is set in a worker process: the server's address and the prefix of all keys.
const rollingEnv = "REDISSTREAM_ROLLING_WORKER"

// rollingOrder is a command. Its handler publishes the event rollingOrdered.
type (
	rollingOrder   struct{ N int }
	rollingOrdered struct{ N int }
)

// rolling is a CQRS application. Its keys share a prefix.
type rolling struct {
	client *redis.Client
	prefix string
}

func (r rolling) topic(what string, kind int) string {
	return fmt.Sprint(r.prefix, ":", what, ":", kind)
}

// times returns the key that counts how often each number was handled.
func (r rolling) times(what string) string { return r.prefix + ":times:" + what }

func (r rolling) subscriber() (message.Subscriber, error) {
	return redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: r.client, ConsumerGroup: "g"}, watermill.NopLogger{})
}

// addCommand adds a handler of a kind of commands. It publishes an event of the same kind.
func (r rolling) addCommand(router *message.Router, events *cqrs.EventBus, kind int) error {
	processor, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
			return r.topic("command", kind), nil
		},
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return r.subscriber()
		},
		Marshaler: cqrs.JSONMarshaler{},
	})
	if err != nil {
		return err
	}
	return processor.AddHandlers(cqrs.NewCommandHandler(fmt.Sprint("command-", kind), func(ctx context.Context, command *rollingOrder) error {
		if err := r.client.HIncrBy(context.WithoutCancel(ctx), r.times("command"), fmt.Sprint(command.N), 1).Err(); err != nil {
			return err
		}
		time.Sleep(rand.N(60 * time.Millisecond))
		return events.Publish(ctx, &rollingOrdered{N: command.N})
	}))
}

// addEvent adds a handler of a kind of events.
func (r rolling) addEvent(router *message.Router, kind int) error {
	processor, err := cqrs.NewEventProcessorWithConfig(router, cqrs.EventProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.EventProcessorGenerateSubscribeTopicParams) (string, error) {
			return r.topic("event", kind), nil
		},
		SubscriberConstructor: func(cqrs.EventProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return r.subscriber()
		},
		Marshaler: cqrs.JSONMarshaler{},
	})
	if err != nil {
		return err
	}
	return processor.AddHandlers(cqrs.NewEventHandler(fmt.Sprint("event-", kind), func(ctx context.Context, event *rollingOrdered) error {
		time.Sleep(rand.N(2 * time.Millisecond))
		return r.client.HIncrBy(context.WithoutCancel(ctx), r.times("event"), fmt.Sprint(event.N), 1).Err()
	}))
}

// work runs a Router until ctx ends, as an application does until SIGTERM.
func (r rolling) work(ctx context.Context) error {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: r.client}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	events, err := cqrs.NewEventBusWithConfig(publisher, cqrs.EventBusConfig{
		GeneratePublishTopic: func(params cqrs.GenerateEventPublishTopicParams) (string, error) {
			return r.topic("event", params.Event.(*rollingOrdered).N%rollingKinds), nil
		},
		Marshaler: cqrs.JSONMarshaler{},
	})
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	for kind := range rollingKinds {
		if err := r.addCommand(router, events, kind); err != nil {
			return err
		}
		if err := r.addEvent(router, kind); err != nil {
			return err
		}
	}
	go func() {
		<-router.Running()
		_, _ = os.Stdout.WriteString("ready\n")
	}()
	if err := router.Run(ctx); err != nil {
		return err
	}
	return publisher.Close()
}

// rollingWorker is the main function of a worker process.
func rollingWorker(config string) {
	addr, prefix, _ := strings.Cut(config, " ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	r := rolling{client: redis.NewClient(&redis.Options{Addr: addr}), prefix: prefix}
	if err := r.work(ctx); err != nil {
		panic(err)
	}
}

// worker is a worker process.
type worker struct {
	command *exec.Cmd
	ready   chan struct{}
	printed []string // its output without "ready"; complete after ended
	ended   chan struct{}
}

func startWorker(t *testing.T, config string) *worker {
	t.Helper()
	w := &worker{command: exec.Command(os.Args[0]), ready: make(chan struct{}), ended: make(chan struct{})}
	w.command.Env = append(os.Environ(), rollingEnv+"="+config)
	output, err := w.command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, w.command.Start())
	t.Cleanup(func() { _ = w.command.Process.Kill() })
	go func() {
		defer close(w.ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if lines.Text() == "ready" {
				close(w.ready)
			} else {
				w.printed = append(w.printed, lines.Text())
			}
		}
	}()
	return w
}

// wait waits until a worker that got SIGTERM has ended without an error.
func (w *worker) wait(t *testing.T) {
	t.Helper()
	fixture.WaitDone(t, w.ended, "the end of a worker")
	assert.NoError(t, w.command.Wait(), w.printed)
}

// restart ends a worker with SIGTERM and starts another.
func (w *worker) restart(t *testing.T, config string) *worker {
	t.Helper()
	require.NoError(t, w.command.Process.Signal(syscall.SIGTERM))
	next := startWorker(t, config)
	w.wait(t)
	fixture.WaitDone(t, next.ready, "the start of a worker")
	return next
}

// The processes of a CQRS application restart one after the other under load. No command or event
// is handled twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	r := rolling{client: b.Client, prefix: b.Topic}
	config := b.Server.Addr + " " + b.Topic
	workers := make([]*worker, rollingProcesses)
	for i := range workers {
		workers[i] = startWorker(t, config)
	}
	for _, w := range workers {
		fixture.WaitDone(t, w.ready, "the start of a worker")
	}
	commands, err := cqrs.NewCommandBusWithConfig(fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client}), cqrs.CommandBusConfig{
		GeneratePublishTopic: func(params cqrs.CommandBusGeneratePublishTopicParams) (string, error) {
			return r.topic("command", params.Command.(*rollingOrder).N%rollingKinds), nil
		},
		Marshaler: cqrs.JSONMarshaler{},
	})
	require.NoError(t, err)
	sent := make(chan error, 1)
	go func() {
		for n := range rollingCommands {
			if err := commands.Send(context.WithoutCancel(t.Context()), &rollingOrder{N: n}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range rollingRestarts {
		b.Eventually("progress", func() bool {
			return b.Client.HLen(t.Context(), r.times("event")).Val() >= int64(rollingCommands*(i+1)/(rollingRestarts+3))
		})
		workers[i%rollingProcesses] = workers[i%rollingProcesses].restart(t, config)
	}
	require.NoError(t, <-sent)
	require.Eventually(t, func() bool {
		return b.Client.HLen(t.Context(), r.times("event")).Val() == rollingCommands
	}, 3*fixture.Soon, 20*time.Millisecond, "every event is handled")
	for _, what := range []string{"command", "event"} {
		again := 0
		for _, times := range b.Client.HGetAll(t.Context(), r.times(what)).Val() {
			if times != "1" {
				again++
			}
		}
		assert.Zero(t, again, "%ss handled more than once", what)
	}
	for _, w := range workers {
		require.NoError(t, w.command.Process.Signal(syscall.SIGTERM))
		w.wait(t)
	}
}
