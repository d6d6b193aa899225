package redisstream

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

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
	return cmp.Or(c.validatePartitions(), c.validateDeduplication())
}

func (c PublisherConfig) validatePartitions() error {
	switch {
	case c.Partitions < 0 || c.Partitions > MaxPartitions:
		return invalid("PublisherConfig.Partitions", errPartitionCount(c.Partitions))
	case c.PartitionKey != nil && c.Partitions == 0:
		return invalid("PublisherConfig.PartitionKey", errors.New("needs Partitions"))
	}
	return nil
}

func (c PublisherConfig) validateDeduplication() error {
	switch {
	case c.DeduplicationWindow < 0:
		return invalid("PublisherConfig.DeduplicationWindow", fmt.Errorf("%s is negative", c.DeduplicationWindow))
	case c.DeduplicationWindow > 0 && c.DeduplicationWindow < time.Millisecond:
		return invalid("PublisherConfig.DeduplicationWindow", fmt.Errorf("%s is less than 1ms", c.DeduplicationWindow))
	case c.DeduplicationKey != nil && c.DeduplicationWindow == 0:
		return invalid("PublisherConfig.DeduplicationKey", errors.New("needs DeduplicationWindow"))
	}
	return nil
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
	return cmp.Or(c.validateConnections(), c.validateExclusive(), c.validatePartitions(), c.validateHousekeeping())
}

func (c SubscriberConfig) validateConnections() error {
	if c.ReadConnections < 0 || c.ReadConnections == 1 {
		return invalid("SubscriberConfig.ReadConnections", fmt.Errorf("%d is neither 0 nor at least 2", c.ReadConnections))
	}
	return nil
}

func (c SubscriberConfig) validatePartitions() error {
	switch {
	case c.Partitions < 0 || c.Partitions > MaxPartitions:
		return invalid("SubscriberConfig.Partitions", errPartitionCount(c.Partitions))
	case c.Partitions == 0 || c.ConsumerGroup == "":
	case c.AutoAck:
		return invalid("SubscriberConfig.Partitions", errExclusiveAutoAck)
	case c.ClaimInterval < 0:
		return invalid("SubscriberConfig.Partitions", errExclusiveClaims)
	}
	return nil
}

func errPartitionCount(n int) error {
	return fmt.Errorf("%d is neither 0 nor from 1 to %d", n, MaxPartitions)
}

var (
	errExclusiveAutoAck = errors.New("can't be combined with AutoAck: what a former owner reads would be lost")
	errExclusiveClaims  = errors.New("needs a ClaimInterval: the active consumer takes over what the former one had")
)

func (c SubscriberConfig) validateExclusive() error {
	switch {
	case !c.Exclusive:
	case c.ConsumerGroup == "":
		return invalid("SubscriberConfig.Exclusive", errors.New("needs a ConsumerGroup"))
	case c.AutoAck:
		return invalid("SubscriberConfig.Exclusive", errExclusiveAutoAck)
	case c.ClaimInterval < 0:
		return invalid("SubscriberConfig.Exclusive", errExclusiveClaims)
	}
	return nil
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
