package redisstream

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/stream"
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

// DefaultWaitTimeout is how long replicas may take to confirm, unless PublisherConfig.WaitTimeout says otherwise.
const DefaultWaitTimeout = time.Second

// PublisherConfig configures a Publisher. Only Client is required.
type PublisherConfig struct {
	// Client is what the messages are published through. Required. It stays open when the Publisher is
	// closed, and may be shared with any number of publishers and subscribers. One that Connect did not make is faster
	// with StayAwake.
	Client redis.UniversalClient

	// Marshaler turns a message into the fields of an entry. When it returns an error or no fields, or panics, Publish sends nothing
	// and fails; the stack of a panic is in the log. Default: MsgpackMarshaler{}.
	Marshaler Marshaler

	// MaxLen caps each stream at about so many entries (XADD ... MAXLEN ~): older ones are dropped
	// by the server, whether they were read or not. Default 0: no cap.
	MaxLen int64

	// MaxAge drops entries that are older at about that age (XADD ... MINID ~), whether they were read or not, each time that
	// one is added. The age is measured on the server's clock, by the ID that the Publisher's last entry of the stream got: so the first
	// message of a Publisher drops nothing, and where few are published the age is that at the last one. Nothing is dropped while
	// the stream's newest ID is ahead of the clock. Default 0: no limit; in whole milliseconds, and more years than the
	// clock shows are no limit, too. Not together with MaxLen: XADD takes one of them.
	MaxAge time.Duration

	// WaitReplicas is how many replicas must have the messages before Publish returns nil (WAIT), so that a failover to
	// one of them does not lose them. Fewer: the error wraps ErrNotReplicated. Each publish then takes as long as the
	// replicas do, and holds a connection of the client's pool meanwhile. The client must be a *redis.Client, a
	// *redis.ClusterClient, a *redis.Ring or a type that embeds one. Default 0: the master's word is enough.
	WaitReplicas int

	// WaitTimeout is how long the replicas may take to confirm; the client's ReadTimeout comes on top of it. Default:
	// DefaultWaitTimeout; at least 1 ms. It needs WaitReplicas.
	WaitTimeout time.Duration
}

func (c PublisherConfig) withDefaults() PublisherConfig {
	if c.Marshaler == nil {
		c.Marshaler = MsgpackMarshaler{}
	}
	if c.WaitReplicas > 0 {
		c.WaitTimeout = cmp.Or(c.WaitTimeout, DefaultWaitTimeout)
	}
	return c
}

func (c PublisherConfig) validate() error {
	switch {
	case c.Client == nil:
		return invalid("PublisherConfig.Client", errRequired)
	case c.MaxLen < 0:
		return invalid("PublisherConfig.MaxLen", fmt.Errorf("%d is negative", c.MaxLen))
	case c.MaxAge < 0:
		return invalid("PublisherConfig.MaxAge", fmt.Errorf("%s is negative", c.MaxAge))
	case c.MaxAge > 0 && c.MaxAge < time.Millisecond:
		return invalid("PublisherConfig.MaxAge", fmt.Errorf("%s is less than 1ms", c.MaxAge))
	case c.MaxAge > 0 && c.MaxLen > 0:
		return invalid("PublisherConfig.MaxAge", errors.New("can't be combined with MaxLen: XADD takes one of them"))
	case c.WaitReplicas < 0:
		return invalid("PublisherConfig.WaitReplicas", fmt.Errorf("%d is negative", c.WaitReplicas))
	case c.WaitReplicas == 0 && c.WaitTimeout != 0:
		return invalid("PublisherConfig.WaitTimeout", errors.New("needs WaitReplicas"))
	case c.WaitReplicas > 0 && c.WaitTimeout < time.Millisecond:
		return invalid("PublisherConfig.WaitTimeout", fmt.Errorf("%s is less than 1ms", c.WaitTimeout))
	case c.WaitReplicas > 0 && stream.Supported(c.Client) != nil:
		return invalid("PublisherConfig.Client", stream.Supported(c.Client))
	}
	return nil
}

// SubscriberConfig configures a Subscriber. Only Client is required.
//
// A subscription holds at most 8 MiB of entries, or a single larger one, and at most twice that while entries that it took over
// wait for their key. With the copies that handlers get it takes less than 64 MiB of memory.
type SubscriberConfig struct {
	// Client is what entries are acknowledged through, and whose options the subscriptions
	// use to open one connection each for their blocking reads, so that they hold none of its pool. Required: a
	// *redis.Client, a *redis.ClusterClient, a *redis.Ring or a type that embeds one. It stays open when the
	// Subscriber is closed.
	Client redis.UniversalClient

	// Unmarshaler turns the fields of an entry into a message. Default: MsgpackMarshaler{}.
	Unmarshaler Unmarshaler

	// ConsumerGroup is the group (XGROUP CREATE) whose members share the entries of a stream: each
	// goes to one of them until it is acknowledged. Default empty: fan-out, every subscription sees
	// every entry (XREAD), and nothing of what it does is kept by the server.
	ConsumerGroup string

	// Consumer is this Subscriber's name in the group. It must not be in use by another process: a
	// subscription begins with what is pending for its name. Several subscriptions to one topic at a time get
	// "#2", "#3" and so on appended. Default empty: the host's name with a random suffix,
	// for each subscription its own, such as "host~ABCDEFGHIJ"; such a consumer is removed at Close or, if entries that it
	// released are still pending or if it died, after ConsumerTimeout.
	Consumer string

	// StartID is where a group that does not exist yet starts, or a fan-out: "0" with the stream's oldest entry,
	// "$" with the first entry added after Subscribe, or behind the entry of an ID such as
	// "1700000000000-0": one or two unsigned 64-bit numbers. Default: "0" for a group, "$" for a fan-out.
	StartID string

	// AutoAck lets the server take entries as acknowledged when it hands them out (XREADGROUP NOACK): at most
	// once. What a subscription has read when it ends or dies is not delivered again. When the group vanishes it is created again
	// behind what its members know to be handed out: what others read since the last look, at most ClaimInterval ago, may come
	// again. All members of a group should have the same.
	//
	// Before Redis 8.10 (XREADGROUP MAXSIZE) its replies have no bound in bytes, because what is cut off would be lost: up to 128 entries
	// that are much larger than those before come at once. Default false.
	// Without a ConsumerGroup there is nothing to acknowledge, and it has no effect.
	AutoAck bool

	// MaxInFlight is how many messages of a subscription may be with handlers, not acked or nacked yet.
	// Default 1: strict stream order, also after a nack. With more, there is no order unless OrderingKey is set.
	//
	// The order is that of one subscription. A group with several members shares the entries out among them, so that two of them
	// handle neighbours at the same time. Where a group needs order, let it have one member, or publish to several topics,
	// each with one member.
	MaxInFlight int

	// OrderingKey keeps the stream's order among the messages for which it returns the same key: one of them
	// at a time, and a nacked one before its successors. Other keys never wait for it: the reader reads on, past up to 1,000
	// entries and 8 MiB of entries that wait for their key. The order is that of one subscription: two members of a group
	// handle messages of one key at the same time (see MaxInFlight). Default nil: no order when MaxInFlight
	// is above 1. It needs MaxInFlight > 1 and must be quick: the reader calls it. A message for which it panics
	// is dead-lettered.
	OrderingKey func(*message.Message) string

	// NackBackoff is the pause before a nacked message is delivered again; attempt counts from 1
	// in this subscription. 0 or less: no pause. Meanwhile the successors of the message wait: with MaxInFlight 1 all, with
	// OrderingKey those of its key; without order none waits. Default: DefaultNackBackoff; with MaxDeliveries above 1 pauses
	// that begin with 5 ms and grow, and that take a minute together.
	NackBackoff func(attempt int) time.Duration

	// MaxDeliveries is how often a message is delivered to a handler, by all consumers of the group together and across
	// their crashes, before it is moved to DeadLetterTopic(topic) instead and acknowledged, in one step. Default 0: no
	// limit.
	//
	// With the default NackBackoff a message is tried for at least a minute, so that a short outage behind the handlers costs no
	// message: with MaxDeliveries 5 after 5 ms, 0.1 s, 3 s and 58 s. In strict order (MaxInFlight 1) the whole subscription waits
	// for it that long. NackBackoff changes the budget.
	//
	// A message is delivered again only when the server has the acks that were given before, so a message that crashes its process
	// can't take them along each time. The server counts an entry as delivered when a consumer reads it: what a consumer had only
	// read ahead when it crashed has one delivery less left, and with 1 it is dead-lettered. Acks given in the moment before
	// a crash die with it.
	//
	// An entry that can't be decoded is moved at once, whatever this says, and so is one that another client gave up
	// (XNACK FATAL). It has no effect on a dead-letter topic itself, with AutoAck and without a ConsumerGroup.
	MaxDeliveries int

	// DeadLetterMaxLen caps the stream of dead letters at about so many (XADD ... MAXLEN ~): the oldest are dropped by the server
	// when one is added. Set it where nobody looks after the letters: without it their stream grows without a bound, one
	// letter for each entry that is given up or can't be decoded. Default 0: no cap.
	DeadLetterMaxLen int64

	// ClaimMinIdle is the silence after which an entry is taken over from its consumer (XCLAIM). A live
	// subscriber renews what it holds every third of it, so a handler may take as long as it likes.
	// All members of a group should have the same. Default: DefaultClaimMinIdle; at least 100 ms.
	//
	// Entries that are taken over come in stream order, before all that no handler has had yet. What was handed out before
	// can't be called back: a strict subscription has then seen newer messages.
	//
	// The server's wall clock measures the silence. If it is set back, what looks untouched for ClaimMinIdle by our own clock is
	// taken over. If it is set forward by more than ClaimMinIdle, entries of live subscribers are taken over too: keep
	// servers' clocks slewed, not stepped.
	ClaimMinIdle time.Duration

	// ClaimInterval is how often to look for entries to take over, and the longest that an entry
	// which another consumer released at its Close waits. Default: DefaultClaimInterval. Negative:
	// this Subscriber claims nothing from others; it still looks after what is pending for its own name.
	ClaimInterval time.Duration

	// BlockTime is the longest that one read waits on the server for entries (BLOCK). Default:
	// DefaultBlockTime; at least 1 ms. New entries end the wait at once, and so does Close: it only
	// matters to proxies that cut idle connections.
	BlockTime time.Duration

	// CloseTimeout is how long Close, or the end of a subscription's context, waits for handlers that
	// are running. Then the contexts of their messages are cancelled, and Close returns, a second later at most. Messages that
	// handlers still have stay theirs for ClaimMinIdle: no other consumer starts them, and an ack or nack in that time counts. Make
	// it as long as handlers take, and at most as long as the Router's CloseTimeout. Default: DefaultCloseTimeout.
	// Negative: don't wait, and release those messages at once.
	//
	// A fan-out has nothing to protect: Close does not wait for its handlers. They may finish in that time all the same.
	CloseTimeout time.Duration

	// ConsumerTimeout is the idle time (XINFO CONSUMERS) after which a consumer with a generated name that has nothing pending
	// is removed from the group (XGROUP DELCONSUMER, in one step with the check): its process died. Names that were given in
	// Consumer stay, unless they end like a generated one; "name#2" and so on, which were made from a given one, are removed by a Subscriber
	// with that name. All members of a group should have the same: each shows twice in it that
	// it lives. Default: DefaultConsumerTimeout; at least twice BlockTime. Negative: none is removed.
	ConsumerTimeout time.Duration

	// TrimInterval is how often a subscription drops from its stream what all groups of the stream have acknowledged
	// (XTRIM ... MINID up to the oldest pending entry of any group). What lies behind that entry is dropped too where the server
	// can (XTRIM ... ACKED: Redis 8.2.7, 8.4.4, 8.6 and newer), up to the thousandth pending entry of a group, and but for the
	// last node of the stream that it looks at (100 entries by default). A group
	// that nobody consumes keeps everything that it has not read, and fan-out subscriptions are not known to the server:
	// TrimMinAge keeps entries for those, and for groups that are still to be created. Default 0: never.
	TrimInterval time.Duration

	// TrimMinAge is the age up to which TrimInterval keeps entries, by the server's clock. Default 0: none because of its age.
	TrimMinAge time.Duration

	// TrimMinLen is how many of the newest entries TrimInterval keeps at least, and about. Default 0: none.
	TrimMinLen int64

	// ShouldClaim decides for each entry that was silent for ClaimMinIdle whether to take it over, for
	// example by asking whether its consumer still lives. The reader calls it. An entry for which it panics stays where it
	// is. Default nil: all.
	ShouldClaim func(PendingEntry) bool
}

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	if c.Unmarshaler == nil {
		c.Unmarshaler = MsgpackMarshaler{}
	}
	if c.StartID == "" {
		c.StartID = "$"
		if c.ConsumerGroup != "" {
			c.StartID = "0"
		}
	}
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1)
	c.ClaimMinIdle = cmp.Or(c.ClaimMinIdle, DefaultClaimMinIdle)
	c.ClaimInterval = cmp.Or(c.ClaimInterval, DefaultClaimInterval)
	c.BlockTime = cmp.Or(c.BlockTime, DefaultBlockTime)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, DefaultCloseTimeout)
	c.ConsumerTimeout = cmp.Or(c.ConsumerTimeout, max(DefaultConsumerTimeout, 2*c.BlockTime))
	return c
}

const minClaimMinIdle = 100 * time.Millisecond

func (c SubscriberConfig) validate() error {
	switch {
	case c.Client == nil:
		return invalid("SubscriberConfig.Client", errRequired)
	case stream.Supported(c.Client) != nil:
		return invalid("SubscriberConfig.Client", stream.Supported(c.Client))
	case c.StartID != "$" && !stream.ValidID(c.StartID):
		return invalid("SubscriberConfig.StartID", fmt.Errorf("%q is neither \"$\" nor an ID: one or two unsigned 64-bit numbers", c.StartID))
	case c.MaxInFlight < 1:
		return invalid("SubscriberConfig.MaxInFlight", fmt.Errorf("%d is negative", c.MaxInFlight))
	case c.MaxDeliveries < 0:
		return invalid("SubscriberConfig.MaxDeliveries", fmt.Errorf("%d is negative", c.MaxDeliveries))
	case c.DeadLetterMaxLen < 0:
		return invalid("SubscriberConfig.DeadLetterMaxLen", fmt.Errorf("%d is negative", c.DeadLetterMaxLen))
	case c.OrderingKey != nil && c.MaxInFlight == 1:
		return invalid("SubscriberConfig.OrderingKey", errors.New("needs MaxInFlight > 1: with 1 all messages are in order"))
	case c.ClaimMinIdle < minClaimMinIdle:
		return invalid("SubscriberConfig.ClaimMinIdle", fmt.Errorf("%s is less than %s", c.ClaimMinIdle, minClaimMinIdle))
	case c.BlockTime < time.Millisecond:
		return invalid("SubscriberConfig.BlockTime", fmt.Errorf("%s is less than 1ms", c.BlockTime))
	case c.Consumer != "" && c.ConsumerGroup == "":
		return invalid("SubscriberConfig.Consumer", errors.New("needs a ConsumerGroup"))
	}
	return c.validateHousekeeping()
}

func (c SubscriberConfig) validateHousekeeping() error {
	switch {
	case c.ConsumerTimeout >= 0 && c.ConsumerTimeout < 2*c.BlockTime:
		return invalid("SubscriberConfig.ConsumerTimeout", fmt.Errorf("%s is less than twice BlockTime, %s", c.ConsumerTimeout, c.BlockTime))
	case c.TrimInterval < 0:
		return invalid("SubscriberConfig.TrimInterval", fmt.Errorf("%s is negative", c.TrimInterval))
	case c.TrimInterval > 0 && c.ConsumerGroup == "":
		return invalid("SubscriberConfig.TrimInterval", errors.New("needs a ConsumerGroup"))
	case c.TrimMinAge < 0:
		return invalid("SubscriberConfig.TrimMinAge", fmt.Errorf("%s is negative", c.TrimMinAge))
	case c.TrimMinLen < 0:
		return invalid("SubscriberConfig.TrimMinLen", fmt.Errorf("%d is negative", c.TrimMinLen))
	case c.TrimInterval == 0 && (c.TrimMinAge > 0 || c.TrimMinLen > 0):
		return invalid("SubscriberConfig.TrimMinAge, TrimMinLen", errors.New("need a TrimInterval"))
	}
	return nil
}

var errRequired = errors.New("is required")

func invalid(field string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrInvalidConfig, field, err)
}
