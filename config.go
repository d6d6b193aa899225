package redisstream

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
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

	// Marshaler turns a message into the fields of an entry. Default: MsgpackMarshaler{}.
	Marshaler Marshaler

	// MaxLen caps each stream at about so many entries (XADD ... MAXLEN ~): older ones are dropped
	// by the server, whether they were read or not. Default 0: no cap.
	MaxLen int64

	// MaxAge drops entries that are older at about that age (XADD ... MINID ~), whether they were read or not, each time that
	// one is added. An entry's age is what its ID says: the server's clock made it, and is compared to ours.
	// Default 0: no limit; in whole milliseconds. Not together with MaxLen: XADD takes one of them.
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
	// "1700000000000-0". Default: "0" for a group, "$" for a fan-out.
	StartID string

	// AutoAck lets the server take entries as acknowledged when it hands them out (XREADGROUP NOACK): at most
	// once. What a subscription has read when it ends or dies is not delivered again. When the group vanishes it is created again
	// behind what its members know to be handed out: what others read since the last look, at most ClaimInterval ago, may come
	// again. All members of a group should have the same. Default false.
	// Without a ConsumerGroup there is nothing to acknowledge, and it has no effect.
	AutoAck bool

	// MaxInFlight is how many messages of a subscription may be with handlers, not acked or nacked yet.
	// Default 1: strict stream order, also after a nack. With more, there is no order unless OrderingKey is set.
	MaxInFlight int

	// OrderingKey keeps the stream's order among the messages for which it returns the same key: one of them
	// at a time, and a nacked one before its successors. Default nil: no order when MaxInFlight
	// is above 1. It needs MaxInFlight > 1 and must be quick: the reader calls it.
	OrderingKey func(*message.Message) string

	// NackBackoff is the pause before a nacked message is delivered again; attempt counts from 1
	// in this subscription. 0 or less: no pause. Default: DefaultNackBackoff.
	NackBackoff func(attempt int) time.Duration

	// MaxDeliveries is how often a message is delivered to a handler, by all consumers of the group together and across
	// their crashes, before it is moved to DeadLetterTopic(topic) instead and acknowledged, in one step. Default 0: no
	// limit. A message is delivered again only when the server has the acks that were given before: one that kills its
	// process would take them along each time. An entry that can't be decoded is moved at once, whatever this says. With 1,
	// what a consumer had only read ahead when it died is moved too, and acks given in the moment before a crash die with it.
	// It has no effect on a dead-letter topic itself, with AutoAck and without a ConsumerGroup.
	MaxDeliveries int

	// ClaimMinIdle is the silence after which an entry is taken over from its consumer (XCLAIM). A live
	// subscriber renews what it holds every third of it, so a handler may take as long as it likes.
	// All members of a group should have the same. The server's wall clock measures it: when that is set forward by more, messages
	// that are with handlers are given to others, too; when it is set back, what a dead consumer has is taken over after
	// ClaimMinIdle by our clock. Default: DefaultClaimMinIdle; at least 100 ms.
	ClaimMinIdle time.Duration

	// ClaimInterval is how often to look for entries to take over, and the longest that an entry
	// which another consumer released at its Close waits. Default: DefaultClaimInterval. Negative:
	// this Subscriber claims nothing from others.
	ClaimInterval time.Duration

	// BlockTime is the longest that one read waits on the server for entries (BLOCK). Default:
	// DefaultBlockTime; at least 1 ms. New entries end the wait at once, and so does Close: it only
	// matters to proxies that cut idle connections.
	BlockTime time.Duration

	// CloseTimeout is how long Close, or the end of a subscription's context, waits for handlers that
	// are running. Then the contexts of their messages are cancelled and their entries released to
	// other consumers. Default: DefaultCloseTimeout. Negative: don't wait.
	CloseTimeout time.Duration

	// ConsumerTimeout is the idle time (XINFO CONSUMERS) after which a consumer with a generated name that has nothing pending
	// is removed from the group (XGROUP DELCONSUMER, in one step with the check): its process died. Names that were given in
	// Consumer stay, unless they end like a generated one. All members of a group should have the same: each shows twice in it that
	// it lives. Default: DefaultConsumerTimeout; at least twice BlockTime. Negative: none is removed.
	ConsumerTimeout time.Duration

	// TrimInterval is how often a subscription drops from its stream what all groups of the stream have acknowledged
	// (XTRIM ... ACKED from Redis 8.2 on; before, nothing behind the oldest pending entry of any group). A group
	// that nobody consumes keeps everything that it has not read, and fan-out subscriptions are not known to the server:
	// TrimMinAge keeps entries for those, and for groups that are still to be created. Default 0: never.
	TrimInterval time.Duration

	// TrimMinAge is the age up to which TrimInterval keeps entries. Default 0: none because of its age.
	TrimMinAge time.Duration

	// TrimMinLen is how many of the newest entries TrimInterval keeps at least, and about. Default 0: none.
	TrimMinLen int64

	// ShouldClaim decides for each entry that was silent for ClaimMinIdle whether to take it over, for
	// example by asking whether its consumer still lives. The reader calls it. Default nil: all.
	ShouldClaim func(redis.XPendingExt) bool
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
	if c.NackBackoff == nil {
		c.NackBackoff = DefaultNackBackoff
	}
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1)
	c.ClaimMinIdle = cmp.Or(c.ClaimMinIdle, DefaultClaimMinIdle)
	c.ClaimInterval = cmp.Or(c.ClaimInterval, DefaultClaimInterval)
	c.BlockTime = cmp.Or(c.BlockTime, DefaultBlockTime)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, DefaultCloseTimeout)
	c.ConsumerTimeout = cmp.Or(c.ConsumerTimeout, max(DefaultConsumerTimeout, 2*c.BlockTime))
	return c
}

var startID = regexp.MustCompile(`^(\$|\d+(-\d+)?)$`)

const minClaimMinIdle = 100 * time.Millisecond

func (c SubscriberConfig) validate() error {
	switch {
	case c.Client == nil:
		return invalid("SubscriberConfig.Client", errRequired)
	case stream.Supported(c.Client) != nil:
		return invalid("SubscriberConfig.Client", stream.Supported(c.Client))
	case !startID.MatchString(c.StartID):
		return invalid("SubscriberConfig.StartID", fmt.Errorf("%q is neither \"$\" nor an entry's ID", c.StartID))
	case c.MaxInFlight < 1:
		return invalid("SubscriberConfig.MaxInFlight", fmt.Errorf("%d is negative", c.MaxInFlight))
	case c.MaxDeliveries < 0:
		return invalid("SubscriberConfig.MaxDeliveries", fmt.Errorf("%d is negative", c.MaxDeliveries))
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
