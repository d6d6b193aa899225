package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxMoved and maxMovedBytes bound how long one call of the script blocks the server.
	maxMoved      = 100
	maxMovedBytes = 1 << 20
	// maxDelayedFields is how many names and values a script can pass on.
	maxDelayedFields = 7000
)

// ErrTooManyFields is the error for an entry with too many fields to be delayed.
var ErrTooManyFields = errors.New("an entry with more than 3,500 fields can't be delayed")

// Later makes a request of Add a delayed message.
type Later struct {
	Key   string        // the sorted set of the stream's delayed messages
	Delay time.Duration // from now on, by the server's clock
	entry string
}

// DelayBy makes the request one for later.
func (a *AddRequest) DelayBy(key string, delay time.Duration) error {
	fields := a.Fields.Fields()
	if len(fields) > maxDelayedFields {
		return ErrTooManyFields
	}
	var entry strings.Builder
	write := func(text string) {
		entry.WriteString(strconv.Itoa(len(text)))
		entry.WriteByte(':')
		entry.WriteString(text)
	}
	write(rand.Text())
	switch {
	case a.MaxLen > 0:
		write("MAXLEN")
		write(strconv.FormatInt(a.MaxLen, 10))
	case a.MaxAge > 0:
		write("MINID")
		write(strconv.FormatInt(a.MaxAge.Milliseconds(), 10))
	default:
		write("")
		write("")
	}
	for _, field := range fields {
		switch field := field.(type) {
		case string:
			write(field)
		case []byte:
			write(string(field))
		}
	}
	a.Later = &Later{Key: key, Delay: delay, entry: entry.String()}
	return nil
}

// schedule returns the command that schedules the entry.
func (a *AddRequest) schedule(ctx context.Context) once {
	a.last = redis.NewStringCmd(ctx, "eval", scheduleSource, 1, a.Later.Key, (*newID)(a), waitMilliseconds(a.Later.Delay), a.Later.entry)
	return once{a.last}
}

// waitMilliseconds returns a wait rounded up: never early.
func waitMilliseconds(wait time.Duration) int64 {
	return (max(wait, 0) + time.Millisecond - 1).Milliseconds()
}

// Delayed has the delayed messages of a stream.
type Delayed struct {
	client redis.UniversalClient
	keys   []string // delayed messages, stream
}

// NewDelayed returns the delayed messages in key of a stream.
func NewDelayed(client redis.UniversalClient, key, stream string) *Delayed {
	return &Delayed{client: client, keys: []string{key, stream}}
}

// Moved is what a call of Move did.
type Moved struct {
	Count      int
	More       bool          // others are due
	Wait       time.Duration // until the next is due; below 0: none is left
	Unreadable int           // members of the set that are no entries
}

// Move adds what is due to the stream.
func (d *Delayed) Move(ctx context.Context) (Moved, error) {
	reply, err := moveDelayedScript.Run(ctx, d.client, d.keys, maxMoved, maxMovedBytes).Int64Slice()
	if err != nil {
		return Moved{}, err
	}
	if len(reply) != 3 {
		return Moved{}, fmt.Errorf("move_delayed script: %d elements in its reply", len(reply))
	}
	return Moved{
		Count: int(reply[0]), More: reply[1] == 0, Wait: time.Duration(reply[1]) * time.Millisecond, Unreadable: int(reply[2]),
	}, nil
}

// Any reports whether there are delayed messages (EXISTS).
func (d *Delayed) Any(ctx context.Context) (bool, error) {
	n, err := d.client.Exists(ctx, d.keys[0]).Result()
	return n > 0, err
}

// AnyDelayed reports of each key of delayed messages whether it has any (EXISTS), in a pipeline, so that a
// server that hangs costs its time-out once. The error is the first one; where a server failed, it
// reports false.
func AnyDelayed(ctx context.Context, client redis.UniversalClient, keys []string) ([]bool, error) {
	pipe, replies := client.Pipeline(), make([]*redis.IntCmd, len(keys))
	for i, key := range keys {
		replies[i] = pipe.Exists(ctx, key)
	}
	_, err := pipe.Exec(ctx)
	there := make([]bool, len(keys))
	for i, reply := range replies {
		there[i] = reply.Err() == nil && reply.Val() > 0
	}
	return there, err
}
