package redisstream

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// Defaults of SubscriberConfig.
const (
	DefaultClaimMinIdle    = 30 * time.Second
	DefaultClaimInterval   = 1500 * time.Millisecond
	DefaultBlockTime       = 5 * time.Second
	DefaultCloseTimeout    = 5 * time.Second
	DefaultConsumerTimeout = 10 * time.Minute
)

// DefaultWaitTimeout is the default of PublisherConfig.WaitTimeout.
const DefaultWaitTimeout = time.Second

// PublisherConfig configures a Publisher. Only Client is required.
type PublisherConfig struct {
	// Client is the client that publishes. Required.
	//
	// It stays open when the Publisher is closed. Any number of publishers and subscribers may
	// share it. A client that Connect did not make is faster with EnableBusyPolling.
	Client redis.UniversalClient

	// Marshaler turns a message into the fields of an entry. If it returns an error or no fields,
	// or panics, Publish fails and sends nothing. The stack of a panic is in the log.
	//
	// Set it where the readers of the stream need another format. With Partitions it may get the
	// messages of a call in another order, but those of each partition in theirs. Defaults to
	// MsgpackMarshaler{}.
	Marshaler Marshaler

	// Partitions divides each topic into that many streams, PartitionTopic(topic, 0, Partitions) and
	// so on, up to MaxPartitions. In a cluster they are spread evenly over the masters. A message's
	// PartitionKey decides its partition.
	//
	// Set it where one topic needs more than one server carries, and set the same number in all
	// publishers and subscribers of the topic. The number is stored under the topic's name (GET and
	// SET, in a script), when the first of them uses it. Publish fails with ErrPartitions if the topic
	// has another number, or has a stream of its own. It asks once for each topic. SetPartitions
	// changes the number. A topic with a brace can't have partitions. docs/partitions.md has more.
	// Defaults to 0: a topic is one stream.
	Partitions int

	// PartitionKey returns the key of a message. Messages with the same key go to the same partition,
	// PartitionOf(key, Partitions), and so they keep their order there.
	//
	// Set it to the function that SubscriberConfig.OrderingKey has, where order matters within a key.
	// For messages without a key (an empty one) each call takes the next partition, and skips one
	// whose server has much more to do than others. With DeduplicationWindow their DeduplicationKey
	// is the key. If PartitionKey panics, Publish fails and sends nothing. It needs Partitions.
	// Defaults to nil: no message has a key.
	PartitionKey func(*message.Message) string

	// MaxLen caps each stream at about that many entries (XADD ... MAXLEN ~). The server drops
	// older ones, read or not.
	//
	// Set it where nothing else trims the stream: without a cap it grows until the server's memory
	// is full. Make it larger than the backlog that consumers may build up. TrimInterval drops only
	// what is acknowledged. Defaults to 0: no cap.
	MaxLen int64

	// MaxAge drops entries older than about that age, read or not, each time an entry is added
	// (XADD ... MINID ~).
	//
	// Set it instead of MaxLen where the age of entries matters more than their number. Both
	// together are an error, because XADD takes one of them. The age is measured on the server's
	// clock, by the ID of the last entry that this Publisher added to the stream. So the first
	// message of a Publisher drops nothing, and where messages are rare the age is that at the last
	// one. Nothing is dropped while the stream's newest ID is ahead of the clock. It is rounded to
	// milliseconds; an age longer than the clock's time since 1970 is no limit. Defaults to 0: no
	// limit.
	MaxAge time.Duration

	// WaitReplicas is the number of replicas that must have the messages before Publish returns nil
	// (WAIT).
	//
	// Set it where a failover to a replica must not lose messages. If fewer confirm in time, the
	// error wraps ErrNotReplicated. Each publish then takes as long as the replicas take, and holds
	// a connection of the client's pool for that time. The client must be a *redis.Client, a
	// *redis.ClusterClient, a *redis.Ring or a type that embeds one. Defaults to 0: do not wait for
	// replicas.
	WaitReplicas int

	// WaitTimeout is how long the replicas may take to confirm, at least 1 ms. The client's
	// ReadTimeout is added to it.
	//
	// Raise it where replicas are far away. It needs WaitReplicas. Defaults to DefaultWaitTimeout.
	WaitTimeout time.Duration

	// Idempotent makes Publish send again what got no reply, and the message is in the stream once:
	// the server knows what it has had (XADD ... IDMP on Redis 8.6.2 and newer, else a script that
	// keeps the number of the last message in "{topic}:producer:..." for 100 s).
	//
	// Set it where a lost connection must neither lose nor duplicate a message. Publish then sends
	// again for up to 60 s, also without a deadline, until there is an answer. PublishError.Uncertain
	// is left where a message's context ends first, the Publisher is closed, or the 60 s are over.
	// What could not be written at all is tried again three times. Publishing costs about a tenth
	// more with XADD IDMP, and a third to two thirds more with the script. It needs the rights to
	// EVAL, EVALSHA, GET, SET and XINFO STREAM. An entry may have up to 3,495 fields. In a cluster a
	// topic with a "}" needs a hash tag. Defaults to false: a message without a reply is never sent
	// again.
	Idempotent bool

	// DeduplicationWindow is how long a message keeps others with its DeduplicationKey out of its
	// topic (SET NX PX, in one script with XADD). Publish returns nil for them, and Duplicates
	// counts them. At least 1 ms.
	//
	// Set it where producers may publish the same thing again: other processes, or the same after a
	// restart. Make it longer than the time in which they may. The server's memory holds a key
	// "{topic}:published:..." of about 200 bytes for each message of a window. It includes what
	// Idempotent does, always by the script, and also needs the right to DEL. The key of a delayed
	// message counts from the time of Publish. Defaults to 0: no deduplication.
	DeduplicationWindow time.Duration

	// DeduplicationKey returns what a message is known by within its topic.
	//
	// Set it where the same thing may come with another UUID, such as an order number or the ID of a
	// webhook's delivery. If it returns an empty key or panics, Publish fails and sends nothing. Of a
	// key of more than 128 bytes the server gets the SHA-256. It needs DeduplicationWindow. Defaults
	// to nil: the message's UUID.
	DeduplicationKey func(topic string, msg *message.Message) string

	// Observer gets the events of messages, for metrics.
	//
	// Set it to one of the modules redisstreamprom or redisstreamotel, or to your own. Its methods
	// are called in the goroutines that publish, so they must be quick. A panic of it is logged,
	// and does not affect messages. Defaults to nil: nothing is observed.
	Observer Observer
}

// SubscriberConfig configures a Subscriber. Only Client is required.
//
// A subscription holds at most 8 MiB of entries, or one entry that is larger. It holds at most
// twice that while entries that it took over wait for their key. With the copies that handlers get,
// it takes less than 64 MiB of memory.
type SubscriberConfig struct {
	// Client is the client that acknowledges entries. Required: a *redis.Client, a
	// *redis.ClusterClient, a *redis.Ring or a type that embeds one.
	//
	// Each subscription also opens one connection of its own with the client's options, unless
	// ReadConnections is set. Its blocking reads use that one, so they hold no connection of the
	// client's pool. The client stays open when the Subscriber is closed.
	Client redis.UniversalClient

	// Unmarshaler turns the fields of an entry into a message. Set the counterpart of the
	// publishers' Marshaler. Defaults to MsgpackMarshaler{}.
	Unmarshaler Unmarshaler

	// ConsumerGroup is the consumer group that the subscriptions join (XREADGROUP). Its members
	// share the entries of a stream: one member gets an entry and keeps it until the entry is
	// acknowledged.
	//
	// Leave it empty for a fan-out: each subscription gets every entry (XREAD), and the server
	// stores nothing about it. Defaults to empty: a fan-out.
	ConsumerGroup string

	// Consumer is the name of this Subscriber in the group.
	//
	// Set it where a process has a stable name of its own, such as that of a pod in a StatefulSet:
	// after a restart the subscription begins with the entries that are pending for the name. No
	// other process may use the name at the same time. Further subscriptions to a topic at the same
	// time get "#2", "#3" and so on appended.
	//
	// Defaults to empty: each subscription gets a name from the host's name and a random suffix,
	// such as "host~ABCDEFGHIJ". Such a consumer is removed at Close. If its process died, or if
	// entries that it released are still pending, it is removed after ConsumerTimeout.
	Consumer string

	// StartID is where a new consumer group, or a fan-out, starts to read: "0" is the oldest entry
	// of the stream, "$" the first entry that is added after Subscribe, and an ID such as
	// "1700000000000-0" the entry just after the one with this ID. An ID is one or two unsigned
	// 64-bit numbers. It has no effect on a group that exists.
	//
	// Set "$" for a new group that must not handle old entries, and "0" or an ID for a fan-out that
	// must. Defaults to "0" for a group and to "$" for a fan-out.
	StartID string

	// AutoAck makes the server acknowledge entries when it delivers them (XREADGROUP NOACK): at
	// most once. Entries that a subscription has read and not handled when it ends are lost.
	//
	// Set it where a lost message costs less than its ack. All members of a group should have the
	// same setting. If the group vanishes, it is created again just after the last entry that its
	// members know to be delivered. What other members read since their last checkpoint, at most
	// ClaimInterval ago, may be delivered again. Before Redis 8.10 (XREADGROUP MAXSIZE) a reply has
	// no bound in bytes, because entries that are cut off would be lost: up to 128 entries may come
	// at once that are much larger than the ones before.
	//
	// Without a ConsumerGroup there is nothing to acknowledge, and it has no effect. Defaults to
	// false.
	AutoAck bool

	// Exclusive makes one consumer of the group at a time the active one for a stream (failover): it
	// gets all messages, in order, and the others stand by. If it ends, another one becomes the
	// active one within a second. If its process dies, that takes up to ClaimMinIdle longer.
	//
	// Set it where the order of a whole group matters, and one consumer is fast enough. All members
	// of a group must have the same setting: a member without it shares the entries with the active
	// one. The active consumer has a lease of ClaimMinIdle on the stream, in a hash beside it
	// (OwnerKey), and a generation, which rises with each owner and is in each message's Entry. A
	// consumer that lost the stream, because its process stood still or had no connection, can't
	// acknowledge, commit, dead-letter or retry messages of it any more, and the contexts of its
	// messages end. Pass the generation on to systems that can refuse older ones: between the end
	// of the lease and the moment in which a handler notices, two handlers may work on a message.
	//
	// A consumer that stands by asks each half second for its turn. During a pause the active
	// consumer stays the active one. ShouldClaim is not called, and a negative ClaimInterval is
	// refused. It needs a ConsumerGroup, without AutoAck. Defaults to false: the members share the
	// entries.
	Exclusive bool

	// Partitions subscribes to topics that PublisherConfig.Partitions divides into that many streams.
	// The members of a ConsumerGroup share the partitions evenly. Each partition has one active
	// consumer at a time, as with Exclusive: so messages with the same key keep their order in the
	// whole group. All messages come out of the one channel of Subscribe. MaxInFlight and OrderingKey
	// hold for each partition.
	//
	// Set the number that the publishers have. Subscribe fails with ErrPartitions if the topic has
	// another number, or has a stream of its own. When a member joins or leaves, as few partitions as
	// possible move to another member. A partition moves within a second after its running messages
	// are settled. If a member dies, others take its partitions over after ClaimMinIdle. The members
	// find each other through a record of the group (PartitionMembersKey), which each of them reads
	// four times a second. Entry.Generation rises with each owner of a partition.
	//
	// Without a ConsumerGroup a subscription gets the messages of all partitions. With one, a
	// negative ClaimInterval and AutoAck are refused, and ShouldClaim is not called. docs/partitions.md
	// has more. Defaults to 0: a topic is one stream.
	Partitions int

	// MaxInFlight is how many messages of a subscription may be in flight: with handlers, neither
	// acked nor nacked.
	//
	// Raise it where handlers wait for other systems. With more than 1 messages have no order,
	// unless OrderingKey is set. With 1 they come in stream order, also after a nack. The order is
	// that of one subscription: the members of a group share the entries, so two members handle
	// neighbours at the same time. For the order of a whole group, set Exclusive or
	// Partitions. Defaults to 1.
	MaxInFlight int

	// OrderingKey keeps the stream's order among messages for which it returns the same key: one of
	// them is in flight at a time, and a nacked one is redelivered before its successors.
	//
	// Set it, with MaxInFlight above 1, where order matters within a key, such as a customer's
	// number. Keys do not wait for each other: the reader reads past up to 1,000 entries and 8 MiB
	// that wait for their key. The order is that of one subscription, as with MaxInFlight. The
	// reader calls it, so it must be quick. A message for which it panics becomes a dead letter.
	// Defaults to nil: no order where MaxInFlight is above 1.
	OrderingKey func(*message.Message) string

	// NackBackoff returns the pause before a nacked message is redelivered. The attempts of a
	// message are counted in this subscription, from 1. With 0 or less there is no pause.
	//
	// Make it longer where handlers fail for long, shorter where order must not wait: with
	// MaxInFlight 1 all successors of the message wait, with OrderingKey those of its key. Without
	// order none waits.
	//
	// Defaults to DefaultNackBackoff. With MaxDeliveries above 1 it defaults to pauses that begin
	// with 5 ms, grow, and take a minute together.
	NackBackoff func(attempt int) time.Duration

	// MaxDeliveries is the delivery limit: how often a message is delivered to handlers, by all
	// consumers of the group together and across their crashes. Then it is moved to
	// DeadLetterTopic(topic) and acknowledged, in one step.
	//
	// Set it so that a message that always fails does not block its successors for ever. With the
	// default NackBackoff a message is tried for at least a minute, so that a short outage behind
	// the handlers costs no message: with MaxDeliveries 5 after 5 ms, 0.1 s, 3 s and 58 s. In
	// strict order (MaxInFlight 1) the whole subscription waits that long. NackBackoff changes
	// these pauses.
	//
	// Earlier acks are sent before a redelivery, so a message that crashes the process can't lose
	// them. Acks given just before a crash may be lost. The server counts a delivery when a
	// consumer reads the entry. So entries that were only read ahead when a process crashed have
	// one delivery less left, and with 1 they become dead letters.
	//
	// An entry that can't be decoded becomes a dead letter at once, whatever the limit, and so does
	// an entry that another client gave up (XNACK FATAL). The limit has no effect on a dead-letter
	// topic, with AutoAck and without a ConsumerGroup. Defaults to 0: no limit.
	MaxDeliveries int

	// DeadLetterMaxLen caps the stream of dead letters at about that many (XADD ... MAXLEN ~). The
	// server drops the oldest when one is added.
	//
	// Set it where nobody replays or drops dead letters: without it their stream grows by one for
	// each entry that is over the delivery limit or can't be decoded. Defaults to 0: no cap.
	DeadLetterMaxLen int64

	// ClaimMinIdle is the length of a lease: a pending entry whose consumer shows no activity for
	// that time is taken over by another one (XCLAIM). At least 100 ms.
	//
	// Lower it to recover sooner from processes that died; raise it where processes stop for long.
	// A live subscriber renews its leases every third of it, so it does not limit how long a
	// handler may take. All members of a group should have the same value.
	//
	// Entries that are taken over come in stream order, before all entries that no handler has had.
	// Messages that are in flight can't be called back: a strict subscription may have delivered
	// newer ones before.
	//
	// The server's wall clock measures the time. If it is set back, entries that did not change for
	// ClaimMinIdle by the process's own clock are taken over. If it is set forward by more than
	// ClaimMinIdle, entries of live subscribers are taken over, too: let servers slew their clocks,
	// not step them. Defaults to DefaultClaimMinIdle.
	ClaimMinIdle time.Duration

	// ClaimInterval is how often a subscription checks for entries to take over. It is also the
	// longest time that an entry waits which another consumer released at its Close. The members of
	// an idle group, in which nothing is pending, share the checks: each waits ClaimInterval times
	// the number of consumers, at most half of ClaimMinIdle. So if a message comes to an idle group
	// and is released soon, it waits for ClaimInterval on average, and at most for that half.
	//
	// Lower it to take over sooner, raise it to send fewer commands. Negative: this Subscriber
	// takes over no entry of another consumer. It still recovers entries that are pending for its
	// own name. Defaults to DefaultClaimInterval.
	ClaimInterval time.Duration

	// ReadConnections is how many connections to each server the subscriptions share for reading,
	// instead of one for each subscription. At least 2. All Subscribers with the same Client and the
	// same number share them, whatever their groups are.
	//
	// Set it where the server limits connections, as managed plans do: 4 serve hundreds of
	// subscriptions. One of the connections watches the streams of all subscriptions that wait
	// (CLIENT TRACKING, with protocol 3, and XLEN), and they read on the others, without BLOCK. A
	// message that ends a wait comes one round trip later than with a connection of its own, and
	// wakes all members of the group; under load nothing waits. A large reply keeps a connection
	// from others while it comes. The server must be Redis 6 or newer, Redis Cloud 7.4 or newer, or
	// Valkey: Subscribe fails if it refuses to watch, or if the user may not run these commands.
	// Defaults to 0: each subscription has a connection of its own.
	ReadConnections int

	// BlockTime is the longest time that one read waits on the server for entries (BLOCK). At least
	// 1 ms.
	//
	// Lower it only for proxies that cut idle connections: new entries end the wait at once, and so
	// does Close. Defaults to DefaultBlockTime.
	BlockTime time.Duration

	// CloseTimeout is how long Close, or the end of a subscription's context, waits for running
	// handlers. Then the contexts of their messages are cancelled, and Close returns within a
	// second. Messages that handlers still have stay leased for ClaimMinIdle: no other consumer
	// gets them, and an ack or nack in that time counts.
	//
	// Make it as long as handlers take, and at most as long as the CloseTimeout of Watermill's
	// Router. Negative: do not wait, and release those messages at once. A fan-out has nothing to
	// release, so Close does not wait for its handlers; their contexts are cancelled after this
	// time. Defaults to DefaultCloseTimeout.
	CloseTimeout time.Duration

	// ConsumerTimeout is the idle time (XINFO CONSUMERS) after which a consumer with a generated
	// name and without pending entries is removed from the group (XGROUP DELCONSUMER, in one step
	// with the check): its process died. At least twice BlockTime.
	//
	// Raise it where processes stop for longer and come back. Names that were set in Consumer are
	// not removed, unless they end like a generated one. Numbered names beside them ("name#2") are
	// removed by a Subscriber with that name. All members of a group should have the same value:
	// each shows activity twice in it. Negative: no consumer is removed. Defaults to
	// DefaultConsumerTimeout, or to twice BlockTime if that is longer.
	ConsumerTimeout time.Duration

	// TrimInterval is how often a subscription drops from its stream what all groups of the stream
	// have acknowledged: all entries older than the oldest pending entry of any group (XTRIM ...
	// MINID).
	//
	// Set it where entries are of no use after all groups have handled them. A group that nobody
	// consumes keeps all that it has not read. Fan-outs are unknown to the server: TrimMinAge keeps
	// entries for them, and for groups that are still to be created. On Redis 8.2.7, 8.4.4, 8.6 and
	// newer, acknowledged entries behind the oldest pending one are dropped, too (XTRIM ... ACKED),
	// up to the thousandth pending entry of a group, except for the last node that the server
	// examines (100 entries by default). Defaults to 0: never.
	TrimInterval time.Duration

	// TrimMinAge is the age, on the server's clock, up to which TrimInterval keeps entries.
	//
	// Set it where fan-outs or new groups read old entries. Defaults to 0: age keeps no entry.
	TrimMinAge time.Duration

	// TrimMinLen is about how many of the newest entries TrimInterval keeps at least.
	//
	// Set it where fan-outs or new groups read old entries. Defaults to 0: none.
	TrimMinLen int64

	// ShouldClaim decides for each entry whose lease is over whether to take it over.
	//
	// Set it where another system knows whether the entry's consumer lives. The reader calls it, so
	// it must be quick. An entry for which it panics stays where it is. Defaults to nil: take over
	// all.
	ShouldClaim func(PendingEntry) bool

	// Observer gets the events of messages, for metrics.
	//
	// Set it to one of the modules redisstreamprom or redisstreamotel, or to your own. Its methods
	// are called in the goroutines that deliver messages, so they must be quick. A panic of it is
	// logged, and does not affect messages. Defaults to nil: nothing is observed.
	Observer Observer
}
