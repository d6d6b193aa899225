package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

const (
	sharedTopic      = "shared" // has partitions
	wholeTopic       = "whole"  // is one stream
	memberPartitions = 12
	memberDeliveries = 4 // MaxDeliveries
)

// memberGroup is a group whose members own streams.
type memberGroup struct {
	name  string
	topic string
	keyed bool // four messages with different keys are in flight; else one of each stream
}

var memberGroups = []memberGroup{
	{name: "single", topic: sharedTopic},
	{name: "keyed", topic: sharedTopic, keyed: true},
	{name: "exclusive", topic: wholeTopic},
}

// streams returns the streams of the group's topic.
func (g memberGroup) streams() []string {
	if g.topic == wholeTopic {
		return []string{wholeTopic}
	}
	return redisstream.PartitionTopics(g.topic, memberPartitions)
}

// Metadata of the messages.
const (
	memberKey    = "key"
	memberNumber = "number"
	memberPoison = "poison" // it always fails
)

func orderingKeyOf(msg *message.Message) string { return msg.Metadata.Get(memberKey) }

// committedKey is the list of what a group has committed in a stream, in the stream's slot.
func committedKey(stream, group string) string {
	if !strings.Contains(stream, "{") {
		stream = "{" + stream + "}"
	}
	return stream + ":committed:" + group
}

// runMember runs a member of each group until ctx ends, or until the process that started it is gone.
func runMember(ctx context.Context, config workerConfig) error {
	j, err := openMemberJournal(config.Journal)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the other end is closed
		os.Exit(1)
	}()
	go watchPulse(context.Background(), config.ClaimMinIdle, func(from time.Time) {
		j.write(memberEvent{Kind: memberStood, From: from.UnixNano()})
	})
	var all sync.WaitGroup
	for _, g := range memberGroups {
		m := &member{workerConfig: config, group: g, journal: j}
		all.Go(func() { m.run(ctx) })
	}
	all.Wait()
	return nil
}

// member is a member of one group.
type member struct {
	workerConfig
	group   memberGroup
	journal *memberJournal
}

func (m *member) run(ctx context.Context) {
	client := m.Connection.client()
	defer client.Close()
	redisstream.EnableBusyPolling(client)
	config := redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: m.group.name, MaxInFlight: 1, MaxDeliveries: memberDeliveries,
		ClaimMinIdle: m.ClaimMinIdle, CloseTimeout: m.CloseTimeout,
		NackBackoff: func(attempt int) time.Duration { return time.Duration(attempt) * 10 * time.Millisecond },
	}
	if m.group.keyed {
		config.MaxInFlight, config.OrderingKey = 4, orderingKeyOf
	}
	if m.group.topic == sharedTopic {
		config.Partitions = memberPartitions
	} else {
		config.Exclusive = true
	}
	logger := watermill.NewStdLoggerWithOut(os.Stderr, false, false)
	library, err := redisstream.NewSubscriber(config, ownerLogger{logger, m, nil})
	if err != nil {
		panic(err)
	}
	var handlers sync.WaitGroup
	if messages := m.subscribe(ctx, library); messages != nil {
		handlers.Go(func() {
			for msg := range messages {
				handlers.Go(func() { m.handle(msg) })
			}
		})
	}
	<-ctx.Done()
	if err := library.Close(); err != nil {
		panic(err)
	}
	handlers.Wait()
}

// subscribe retries until the server answers; nil: ctx ended first.
func (m *member) subscribe(ctx context.Context, library *redisstream.Subscriber) <-chan *message.Message {
	for ctx.Err() == nil {
		messages, err := library.Subscribe(context.WithoutCancel(ctx), m.group.topic)
		if err == nil {
			return messages
		}
		fmt.Fprintln(os.Stderr, err)
		wait(ctx, 20*time.Millisecond)
	}
	return nil
}

// handle works for 1 to 20 ms. Half of the handlers end with their context.
func (m *member) handle(msg *message.Message) {
	entry, ok := redisstream.EntryFromContext(msg.Context())
	number, err := strconv.Atoi(msg.Metadata.Get(memberNumber))
	if !ok || err != nil {
		panic("a message that the run has not published")
	}
	e := memberEvent{
		Kind: memberBegins, Group: m.group.name, Stream: entry.Stream, Generation: entry.Generation, Entry: entry.ID,
		Key: orderingKeyOf(msg), Number: number, Deliveries: entry.Deliveries,
	}
	m.journal.write(e)
	works := time.NewTimer(time.Millisecond + rand.N(19*time.Millisecond))
	defer works.Stop()
	stopped := false
	if rand.IntN(2) == 0 {
		select {
		case <-works.C:
		case <-msg.Context().Done():
			stopped = true
		}
	} else {
		<-works.C
	}
	e.Kind, e.Outcome = memberEnds, outcomeAcked
	switch {
	case stopped, msg.Metadata.Get(memberPoison) != "", entry.Deliveries == 1 && rand.IntN(50) == 0:
		e.Outcome = outcomeNacked
	case number%5 == 0:
		e.Outcome = m.commit(msg, entry)
	}
	m.journal.write(e)
	if e.Outcome == outcomeNacked {
		msg.Nack()
	} else {
		msg.Ack()
	}
}

// commit adds the message to a list and acknowledges it in one step. It does not heed the end of the
// context: Commit has to refuse what a former owner commits.
func (m *member) commit(msg *message.Message, entry redisstream.Entry) string {
	ctx := context.WithoutCancel(msg.Context())
	err := redisstream.Commit(ctx, func(tx redis.Pipeliner) error {
		line := fmt.Sprint(orderingKeyOf(msg), " ", msg.Metadata.Get(memberNumber), " ", entry.ID, " ", entry.Generation)
		tx.RPush(ctx, committedKey(entry.Stream, m.group.name), line)
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return outcomeNacked
	}
	return outcomeCommitted
}

// ownerLogger records the log lines that tell that a generation began.
type ownerLogger struct {
	watermill.LoggerAdapter
	member *member
	fields watermill.LogFields
}

func (l ownerLogger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	all := maps.Clone(fields)
	maps.Copy(all, l.fields)
	return ownerLogger{l.LoggerAdapter.With(fields), l.member, all}
}

func (l ownerLogger) Info(msg string, fields watermill.LogFields) {
	l.LoggerAdapter.Info(msg, fields)
	if msg != "this consumer owns the partition now" && msg != "this consumer is the active one of the group now" {
		return
	}
	stream := l.member.group.topic
	if partition, ok := l.fields["partition"].(int); ok {
		stream = redisstream.PartitionTopic(stream, partition, memberPartitions)
	}
	generation, _ := fields["generation"].(int64)
	l.member.journal.write(memberEvent{Kind: memberOwns, Group: l.member.group.name, Stream: stream, Generation: generation})
}
