package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// workerVariable is the environment variable with the configuration of a worker.
const workerVariable = "REDISSTREAM_CHAOS_WORKER"

// workerConfig is the configuration of a worker process.
type workerConfig struct {
	Connection   connection
	Topic        string
	Journal      string
	Consumer     string // empty: generated
	Groups       []group
	ClaimMinIdle time.Duration
	CloseTimeout time.Duration
	Member       bool // it is a member of the groups of a run with -partitions
}

// group is a consumer group and its configuration.
type group struct {
	Name          string
	MaxInFlight   int
	Keyed         bool
	MaxDeliveries int
	FailingKeys   bool // keys fail here for a while
	AutoAck       bool
	Commits       bool // transfers are made in a Commit
	Retries       bool // what is nacked is retried after a wait
	Serial        bool // one handler at a time, whatever MaxInFlight is: the other messages wait to be received
}

// keyQueue returns the name of the key queue of a message; false: the group has no order.
func (g group) keyQueue(uuid string) (name string, ordered bool) {
	switch {
	case g.MaxInFlight == 1:
		return "", true
	case g.Keyed:
		return keyOf(uuid), true
	default:
		return "", false
	}
}

// keyOf returns the ordering key of a message, the last digit of its UUID.
func keyOf(uuid string) string { return uuid[len(uuid)-1:] }

const orderingKeys = 10

// isWorker reports whether this process was started as a worker.
func isWorker() bool { return os.Getenv(workerVariable) != "" }

// runWorker runs a worker until SIGTERM, or until the process that started it is gone.
func runWorker() error {
	var config workerConfig
	if err := json.Unmarshal([]byte(os.Getenv(workerVariable)), &config); err != nil {
		return err
	}
	terminate, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if config.Member {
		return runMember(terminate, config)
	}
	j, err := openJournal(config.Journal)
	if err != nil {
		return err
	}
	control := controls{subscribers: map[int]*redisstream.Subscriber{}}
	go control.obey(j)
	go watchPulse(context.Background(), config.ClaimMinIdle, func(from time.Time) { j.write(stoodStill, -1, from.UnixNano()) })
	var all sync.WaitGroup
	for number, g := range config.Groups {
		s := &subscriber{workerConfig: config, group: g, number: number, journal: j, controls: &control}
		all.Go(func() { s.run(terminate) })
	}
	<-terminate.Done()
	j.write(closing, -1)
	all.Wait()
	j.write(closed, -1)
	return nil
}

// subscriber is one subscription of a worker.
type subscriber struct {
	workerConfig
	group   group
	number  int
	journal *journal

	controls *controls
}

func (s *subscriber) run(ctx context.Context) {
	client := s.Connection.client()
	defer client.Close()
	redisstream.EnableBusyPolling(client)
	client.AddHook(ackHook{s})
	config := redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: s.group.Name, Consumer: s.Consumer, MaxInFlight: s.group.MaxInFlight,
		MaxDeliveries: s.group.MaxDeliveries, AutoAck: s.group.AutoAck,
		ClaimMinIdle: s.ClaimMinIdle, ClaimInterval: s.ClaimMinIdle / 5, CloseTimeout: s.CloseTimeout,
	}
	if s.group.MaxDeliveries > 0 { // with the default, dead-lettering takes long
		config.NackBackoff = func(attempt int) time.Duration { return time.Duration(attempt) * 10 * time.Millisecond }
	}
	if s.group.Keyed {
		config.OrderingKey = func(msg *message.Message) string { return keyOf(msg.UUID) }
	}
	logger := watermill.NewStdLoggerWithOut(os.Stderr, false, false)
	library, err := redisstream.NewSubscriber(config, journalLogger{logger, s})
	if err != nil {
		panic(err)
	}
	messages := s.subscribe(ctx, library)
	s.controls.add(s.number, library)
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for msg := range messages {
			if s.group.MaxInFlight == 1 || s.group.Serial {
				s.handle(msg)
			} else {
				handlers.Go(func() { s.handle(msg) })
			}
		}
	})
	<-ctx.Done()
	if err := library.Close(); err != nil { // running handlers end with the process
		panic(err)
	}
}

// subscribe retries until the server answers; nil: ctx ended first.
func (s *subscriber) subscribe(ctx context.Context, library *redisstream.Subscriber) <-chan *message.Message {
	for ctx.Err() == nil {
		messages, err := library.Subscribe(context.WithoutCancel(ctx), s.Topic)
		if err == nil {
			s.journal.write(subscribed, s.number, s.group.Name)
			return messages
		}
		fmt.Fprintln(os.Stderr, err)
		wait(ctx, 20*time.Millisecond)
	}
	nothing := make(chan *message.Message)
	close(nothing)
	return nothing
}

func (s *subscriber) handle(msg *message.Message) {
	entry, ok := redisstream.EntryFromContext(msg.Context())
	if !ok {
		panic("a message without its entry")
	}
	s.journal.write(delivered, s.number, entry.ID, entry.Deliveries, msg.UUID)
	todo := workOf(msg).in(s.group)
	if todo.kills {
		s.journal.write(dying, s.number, entry.ID)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // wait for the signal
	}
	nack := entry.Deliveries <= todo.nacks || time.Now().Before(todo.until)
	if todo.once && entry.Deliveries > 1 {
		todo.takes = 0
	}
	if todo.takes > 0 && s.interrupted(msg.Context(), entry.ID, todo) {
		nack = true
	}
	if !nack && s.group.transfers(msg.UUID) {
		nack = !s.committed(msg, entry.ID, todo.heeds)
	}
	if nack {
		if s.group.Retries { // in memory, or in the retry queue
			redisstream.RetryOutOfOrder(msg, rand.N(s.ClaimMinIdle))
		}
		s.journal.write(nacked, s.number, entry.ID)
		msg.Nack()
	} else {
		s.journal.write(acked, s.number, entry.ID)
		msg.Ack()
	}
}

// interrupted works for as long as the message takes. It reports whether it
// stopped at the end of its context.
func (s *subscriber) interrupted(ctx context.Context, id string, todo work) bool {
	done := time.NewTimer(todo.takes)
	defer done.Stop()
	select {
	case <-done.C:
		return false
	case <-ctx.Done():
	}
	s.journal.write(cancelled, s.number, id)
	if todo.heeds {
		return true
	}
	<-done.C
	return false
}

// ackHook records the acknowledgements that the server confirmed.
type ackHook struct{ *subscriber }

func (h ackHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h ackHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, command)
		if err == nil && command.Name() == "xack" {
			h.journal.write(confirmed, h.number, command.Args()[3:]...)
		}
		return err
	}
}

func (h ackHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// journalLogger records three of the library's log lines. Nothing else tells of a failed read, or
// of an entry that was lost while no handler had it.
type journalLogger struct {
	watermill.LoggerAdapter
	s *subscriber
}

func (l journalLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return journalLogger{l.LoggerAdapter.With(fields), l.s}
}

func (l journalLogger) Error(msg string, err error, fields watermill.LogFields) {
	switch msg {
	case "reading from the stream failed; retrying":
		l.s.journal.write(failing, l.s.number)
	case "entries lost while they were held":
		ids, _ := fields["entries"].([]string)
		for _, id := range ids {
			l.s.journal.write(lost, l.s.number, id)
		}
	}
	l.LoggerAdapter.Error(msg, err, fields)
}

func (l journalLogger) Info(msg string, fields watermill.LogFields) {
	if msg == "reading from the stream works again" {
		l.s.journal.write(working, l.s.number)
	}
	l.LoggerAdapter.Info(msg, fields)
}
