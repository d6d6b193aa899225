package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// accounts is how many accounts there are.
const accounts = 20

// transfer is what a message moves between two accounts, in a group that commits.
type transfer struct {
	from, to string
	amount   int64
}

// transfers reports whether the group makes a transfer of a message: of every second one.
func (g group) transfers(uuid string) bool {
	return g.Commits && strings.ContainsAny(keyOf(uuid), "13579")
}

// transferOf returns the transfer of a message, which its UUID determines.
func transferOf(uuid string) transfer {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(uuid)) // a hash returns no error
	n := hash.Sum64()
	from := n % accounts
	to := (from + 1 + n/accounts%(accounts-1)) % accounts
	return transfer{strconv.FormatUint(from, 10), strconv.FormatUint(to, 10), 1 + int64(n>>32)%100}
}

// The balances and the events of a topic are in its slot.
func balancesKey(topic string) string { return "{" + topic + "}:balances" }
func eventTopic(topic string) string  { return "{" + topic + "}:events" }

// commit makes the transfer of a message, publishes its event and acknowledges the message in one
// step. The UUID of the event is the ID of the message's entry; its payload is the message's UUID.
func (s *subscriber) commit(ctx context.Context, id, uuid string) error {
	move := transferOf(uuid)
	events := redisstream.NewTxPublisher(redisstream.TxPublisherConfig{})
	return redisstream.Commit(ctx, func(tx redis.Pipeliner) error {
		tx.HIncrBy(ctx, balancesKey(s.Topic), move.from, -move.amount)
		tx.HIncrBy(ctx, balancesKey(s.Topic), move.to, move.amount)
		return events.In(tx).Publish(eventTopic(s.Topic), message.NewMessage(id, []byte(uuid)))
	})
}

// committed commits a message, and reports whether that worked. A handler that does not heed the
// end of its context commits all the same: Commit has to refuse it.
func (s *subscriber) committed(msg *message.Message, id string, heeds bool) bool {
	ctx := msg.Context()
	if !heeds {
		ctx = context.WithoutCancel(ctx)
	}
	time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond) // so that faults come before a commit, too
	err := s.commit(ctx, id, msg.UUID)
	var failed *redisstream.CommitError
	switch {
	case err == nil:
		s.journal.write(confirmed, s.number, id)
		return true
	case errors.Is(err, redisstream.ErrNotHeld):
		s.journal.write(notHeld, s.number, id)
	case errors.As(err, &failed), errors.Is(err, redisstream.ErrCommitRefused), errors.Is(err, redisstream.ErrNoAcks):
		panic(err) // no fault is a reason
	default:
		fmt.Fprintln(os.Stderr, err)
	}
	return false
}
