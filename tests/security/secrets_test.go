package security

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secrets must not appear in logs or errors: a password, and contents of messages.
var secrets = []string{"hush-password", "hush-payload", "hush-metadata", "918273645"}

// witness collects our log, the log of go-redis, and errors.
type witness struct{ redistest.Log }

// Printf is the log function of go-redis.
func (w *witness) Printf(_ context.Context, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...)
}

// heard records an error. There must be one.
func (w *witness) heard(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	_, _ = fmt.Fprintf(w, "%v", err)
}

// publish publishes messages that contain secrets, and expects an error for one of them.
func (w *witness) publish(t *testing.T, client redis.UniversalClient, marshaler redisstream.Marshaler) {
	t.Helper()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Marshaler: marshaler}, w.Logger())
	require.NoError(t, err)
	defer func() { require.NoError(t, publisher.Close()) }()
	var failures []error
	for _, key := range []string{"key", "data"} { // the field "data" is reserved by PlainMarshaler
		msg := message.NewMessage("uuid", []byte(secrets[1]))
		msg.Metadata.Set(key, secrets[2]+"\xff")
		failures = append(failures, publisher.Publish("topic", msg))
	}
	w.heard(t, errors.Join(failures...))
}

// subscribe calls Subscribe and expects an error.
func (w *witness) subscribe(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	for _, group := range []string{"g", ""} {
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: client, ConsumerGroup: group}, w.Logger())
		require.NoError(t, err)
		_, err = subscriber.Subscribe(t.Context(), "topic")
		w.heard(t, err)
		require.NoError(t, subscriber.Close())
	}
}

// Not parallel: go-redis has one logger for all clients.
func TestRedact_noSecretInLogsAndErrors(t *testing.T) {
	w := &witness{}
	redis.SetLogger(w)
	t.Cleanup(logging.Enable)
	password, payload, metadata, number := secrets[0], secrets[1], secrets[2], secrets[3]
	withPassword := func(o *redis.Options) { o.Password, o.MaxRetries, o.DialerRetries = password, -1, 1 }

	t.Run("wrong password", func(t *testing.T) {
		server := redistest.Start(t, "--requirepass", "other")
		for _, query := range []string{"", "?cluster=true", "?master_name=m&dialer_retries=1&max_retries=-1&password=" + password} {
			_, err := redisstream.Connect(t.Context(), "redis://:"+password+"@"+server.Addr+query)
			w.heard(t, err)
		}
		client := server.Client(t, withPassword)
		w.publish(t, client, nil)
		w.subscribe(t, client)
	})
	t.Run("the server is gone", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: fixture.ClosedPort(t), Password: password, MaxRetries: -1, DialerRetries: 1})
		defer client.Close()
		w.publish(t, client, nil)
		w.subscribe(t, client)
	})
	t.Run("the server refuses", func(t *testing.T) {
		for _, arguments := range [][]string{
			{"--rename-command", "XADD", "hidden", "--rename-command", "XGROUP", "hidden2", "--rename-command", "XINFO", "hidden3"},
			{"--maxmemory", "1"},
			{"--replicaof", "127.0.0.1", "1"},
			{"--user", "default", "on", "nopass", "~*", "-@all", "+ping"},
		} {
			client := redistest.Start(t, append([]string{"--requirepass", ""}, arguments...)...).Client(t)
			w.publish(t, client, nil)
			if arguments[0] != "--maxmemory" && arguments[0] != "--replicaof" {
				w.subscribe(t, client)
			}
		}
	})
	t.Run("a server that repeats what it does not know", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: fixture.Serve(t, repeatAll), MaxRetries: -1})
		defer client.Close()
		w.publish(t, client, nil)
		w.subscribe(t, client)
		_, err := redisstream.Connect(t.Context(), "redis://user:"+password+"@"+fixture.Serve(t, repeatAll))
		w.heard(t, err)
		locked := redis.NewClient(&redis.Options{Addr: fixture.Serve(t, repeatAll), Password: password, MaxRetries: -1})
		defer locked.Close()
		w.publish(t, locked, nil)
		w.subscribe(t, locked)
		_, err = redisstream.ReplayDeadLetters(t.Context(), locked, "topic", 1)
		w.heard(t, err)
	})
	t.Run("a server that later repeats what it does not know", func(t *testing.T) {
		b := fixture.NewOn(t, redistest.Start(t, "--requirepass", password))
		var target atomic.Value
		target.Store(b.Server.Addr)
		b.Client = b.Server.Client(t, withPassword, func(o *redis.Options) {
			o.Dialer = func(context.Context, string, string) (net.Conn, error) {
				return net.Dial("tcp", target.Load().(string))
			}
		})
		config := fixture.GroupConfig()
		config.Client = b.Client
		subscriber, err := redisstream.NewSubscriber(config, w.Logger())
		require.NoError(t, err)
		messages, err := subscriber.Subscribe(t.Context(), b.Topic)
		require.NoError(t, err)
		b.Publish(1)
		msg := fixture.Receive(t, messages)
		target.Store(fixture.Serve(t, repeatAll))
		b.Server.Kill()
		b.Eventually("noticed", func() bool { return w.Count("reading from the stream failed") > 0 })
		msg.Ack()
		require.NoError(t, subscriber.Close())
		assert.Positive(t, w.Count("unknown command 'auth'\""), "only the name of the command")
	})
	t.Run("messages that can't be marshaled", func(t *testing.T) {
		client := redistest.Start(t).Client(t)
		for _, marshaler := range []redisstream.Marshaler{redisstream.JSONMarshaler{}, redisstream.PlainMarshaler{}, numbers{}} {
			w.publish(t, client, marshaler)
		}
	})
	t.Run("entries that can't be decoded, and dead letters that can't be added", func(t *testing.T) {
		for _, unmarshaler := range []redisstream.Unmarshaler{
			redisstream.MsgpackMarshaler{}, redisstream.JSONMarshaler{}, redisstream.PlainMarshaler{},
		} {
			b := fixture.New(t)
			require.NoError(t, b.Client.Set(t.Context(), redisstream.DeadLetterTopic(b.Topic), payload, 0).Err())
			for _, fields := range [][]string{
				{"foreign", payload},
				{fixture.UUIDField, "u", "payload", payload, "metadata", metadata},
				{fixture.UUIDField, "u", "payload", payload, "metadata", "\x81\xa1a" + metadata},
				{"data", payload, "metadata", metadata},
				{"data", payload, "metadata", `{"a":` + number + `}`},
				{"data", payload, "metadata", number},
				{"data", payload, "metadata", `["` + metadata + `"]`},
				{"data", payload, "metadata", `{"a":"` + metadata},
				{"data", payload, "metadata", `{"a":` + metadata},
				{fixture.UUIDField, "u", "payload", payload},
			} {
				require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: fields}).Err())
			}
			config := fixture.GroupConfig()
			config.Client, config.Unmarshaler, config.MaxDeliveries = b.Client, unmarshaler, 1
			subscriber, err := redisstream.NewSubscriber(config, w.Logger())
			require.NoError(t, err)
			before := w.Count("dead-lettering failed")
			messages, err := subscriber.Subscribe(t.Context(), b.Topic)
			require.NoError(t, err)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for msg := range messages {
					msg.Nack()
				}
			}()
			b.Eventually("all are read, and the first failed", func() bool {
				return b.Pending() == 10 && w.Count("dead-lettering failed") > before
			})
			require.NoError(t, b.Client.Del(t.Context(), redisstream.DeadLetterTopic(b.Topic)).Err())
			b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 10 })
			require.NoError(t, subscriber.Close())
			fixture.WaitDone(t, done, "the channel is closed")
		}
	})

	lines := w.Lines()
	require.Greater(t, len(lines), 40, "one line for all dead letters that fail")
	for _, line := range lines {
		for _, secret := range secrets {
			assert.NotContains(t, line, secret)
		}
	}
}

// repeatAll answers each command with the error of Redis for an unknown command: it repeats the
// arguments.
func repeatAll(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "*"))
		if err != nil {
			return
		}
		words := make([]string, n)
		for i := range words {
			lines.Scan() // the length of the word
			lines.Scan()
			words[i] = lines.Text()
		}
		fmt.Fprintf(conn, "-ERR unknown command '%s', with args beginning with: '%s' \r\n", words[0], strings.Join(words[1:], "' '"))
	}
}

// numbers is a Marshaler whose values have a type that entries may not have.
type numbers struct{}

func (numbers) Marshal(string, *message.Message) (map[string]any, error) {
	return map[string]any{"number": 918273645, "time": time.Second}, nil
}
