package admin

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/stream"
)

// Topic is a stream, or several if it has partitions: then the numbers are sums.
type Topic struct {
	Name        string
	Partitions  int       // 0: it is one stream without partitions
	Draining    int       // the number of partitions that it had before, while they are drained; 0: none
	Length      int64     // entries it has
	Added       int64     // entries that were ever added
	FirstID     string    // its oldest entry; empty: it has none
	LastID      string    // the newest ID that it ever had
	Oldest      time.Time // the time in FirstID; zero: it has no entry
	Newest      time.Time // the time in LastID; zero: it never had one
	Bytes       int64     // the server's memory for the stream (MEMORY USAGE); -1: unknown, the user may not ask
	Groups      int       // of partitions: the most that one has
	DeadLetters int64     // entries of DeadLetterTopic, which topics such as "orders" and "{orders}" share
	Delayed     int64     // messages that are not due yet
	Parked      int64     // messages in the retry queues of its groups
}

// deadLetterSuffix ends the name of each stream of dead letters.
var deadLetterSuffix = strings.TrimPrefix(redisstream.DeadLetterTopic("{t}"), "{t}")

// Topics iterates over the topics, in no order (SCAN ... TYPE stream on each master). Streams of
// dead letters are left out: their number is in the topic's. match is a glob pattern as of SCAN, for
// the topic's name or that of a partition's stream; empty: all. Topics that are created or deleted
// during the iteration may be missing; each other topic is yielded once. Topics that the user has no
// right to read are left out.
//
// Topics with partitions come last, each once. A stream with the name of a partition is a topic by
// itself if no number of partitions is stored, or another one. With match the keys are scanned twice.
func (a *Admin) Topics(ctx context.Context, match string) iter.Seq2[Topic, error] {
	return func(yield func(Topic, error) bool) {
		scan := scan{Admin: a, partitions: make(map[string]map[string]bool)}
		if !scan.streams(ctx, match, yield) {
			return
		}
		if match != "" && !scan.partitionsOf(ctx, match, yield) {
			return
		}
		scan.partitioned(ctx, yield)
	}
}

// Topic returns a topic. The error wraps ErrNoTopic.
func (a *Admin) Topic(ctx context.Context, topic string) (Topic, error) {
	topics, errs := a.describe(ctx, []string{topic})
	if errs[0] != nil {
		return Topic{}, topicError(topic, errs[0])
	}
	return topics[0], nil
}

func topicOf(name string, state stream.TopicState) Topic {
	return Topic{
		Name: name, Length: state.Length, Added: state.Added, FirstID: state.First, LastID: state.Last,
		Oldest: timeOf(state.First), Newest: timeOf(state.Last), Bytes: state.Bytes, Groups: state.Groups,
		DeadLetters: state.DeadLetters, Delayed: state.Delayed, Parked: state.Parked,
	}
}
