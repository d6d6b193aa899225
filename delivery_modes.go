package redisstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/millrace/redisstream/internal/subscription"
	"github.com/redis/go-redis/v9"
)

var (
	errWentBack = errors.New("the stream lost its end, or was created again")
	errMissed   = errors.New("the entries are not in the stream any more")
)

// join makes the stream ready to be read, in the delivery mode of the configuration: a consumer
// group with acks, a group without acks, or a fan-out without a group.
func (s *Subscriber) join(
	ctx context.Context, topic, consumer string, logger watermill.LoggerAdapter, observer *subscriptionObserver,
) (subscription.Backend, error) {
	switch c := s.config; {
	case c.ConsumerGroup == "":
		return c.joinFanout(ctx, topic, logger, observer)
	case c.AutoAck:
		membership, err := c.joinGroup(ctx, topic, c.newGroup(topic, consumer, observer), consumer, logger)
		return subscription.AutoAckGroup{Membership: membership}, err
	default:
		membership, err := c.joinGroup(ctx, topic, c.newGroup(topic, consumer, observer), consumer, logger)
		return c.groupBackend(topic, consumer, membership), err
	}
}

// groupBackend returns the backend of a subscription with acks.
func (c SubscriberConfig) groupBackend(topic, consumer string, membership subscription.Membership) subscription.Group {
	return subscription.Group{
		Membership: membership, NeverClaim: c.ClaimInterval < 0, ShouldClaim: c.ShouldClaim,
		EarlierProcess: c.Consumer != "", MaxDeliveries: c.MaxDeliveries, DeadLetters: c.deadLetters(topic, consumer),
	}
}

// newGroup returns a consumer of the group on the stream named topic.
func (c SubscriberConfig) newGroup(topic, consumer string, observer *subscriptionObserver) *stream.Group {
	group := stream.NewGroup(c.Client, topic, c.ConsumerGroup, consumer)
	if conns := readConnections.of(c); conns != nil {
		group.Share(conns)
	}
	if observer != nil {
		group.OnReconnect(observer.Reconnected)
	}
	group.NoAck = c.AutoAck
	return group
}

// joinGroup joins the consumer group of the stream named topic.
func (c SubscriberConfig) joinGroup(
	ctx context.Context, topic string, group *stream.Group, consumer string, logger watermill.LoggerAdapter,
) (subscription.Membership, error) {
	membership := subscription.Membership{
		Stream: group, Consumer: consumer, StartID: c.StartID, ClaimMinIdle: c.ClaimMinIdle, ClaimInterval: c.ClaimInterval,
		RemoveAtEnd: consumer != c.Consumer, // a name that is not the configured one is of no use to a later process
		Removable:   c.removable(), ConsumerTimeout: max(c.ConsumerTimeout, 0),
		TrimInterval: c.TrimInterval, TrimMinAge: c.TrimMinAge, TrimMinLen: c.TrimMinLen,
		Delayed: subscription.NoDelayed{}, ReadsShort: c.ReadConnections > 0,
	}
	if c.ClaimInterval < 0 {
		membership.ClaimInterval = DefaultClaimInterval
	}
	if err := group.CheckRights(ctx, c.rights(topic, membership.RemoveAtEnd)); err != nil {
		return membership, err
	}
	if err := c.checkWatch(ctx, topic); err != nil {
		return membership, err
	}
	if group.MovesDelayed() {
		membership.Delayed = newMover(c.Client, topic, logger, func() {})
	}
	membership.CanBePaused = group.CanBePaused()
	if group.Reports() {
		membership.Record = c.memberRecord()
	}
	if err := group.Join(ctx, c.StartID); err != nil {
		return membership, fmt.Errorf("join group %q: %w", c.ConsumerGroup, err)
	}
	return membership, nil
}

// rights returns what a member of the group needs.
func (c SubscriberConfig) rights(topic string, isRemoved bool) stream.RequiredRights {
	rights := stream.RequiredRights{
		Removed: isRemoved, RemovesOthers: c.ConsumerTimeout > 0, Trims: c.TrimInterval > 0, Delayed: DelayedKey(topic),
		Watches: c.ReadConnections > 0,
	}
	if !c.AutoAck && !isDeadLetterTopic(topic) {
		rights.DeadLetters = DeadLetterTopic(topic)
	}
	if c.Exclusive || c.Partitions > 0 {
		rights.Owner = OwnerKey(topic, c.ConsumerGroup)
	}
	if _, cluster := c.Client.(*redis.ClusterClient); !cluster || hasHashTag(DelayedKey(topic)) {
		rights.Members, rights.Pause = MembersKey(topic, c.ConsumerGroup), PauseKey(topic, c.ConsumerGroup)
		if !c.AutoAck {
			rights.RetryQueue, rights.Lease = RetryQueueKey(topic, c.ConsumerGroup), c.ClaimMinIdle
		}
	}
	return rights
}

// memberRecord returns what the member record of a subscription has of its configuration.
func (c SubscriberConfig) memberRecord() *stream.MemberRecord {
	host, _ := os.Hostname() // unknown: it is of use without
	record := &stream.MemberRecord{
		Host: host, PID: os.Getpid(), Started: time.Now(), Every: min(max(c.ClaimMinIdle/3, time.Second), 10*time.Second),
		Lease: c.ClaimMinIdle, Workers: c.MaxInFlight, AutoAck: c.AutoAck,
	}
	if !c.AutoAck {
		record.Limit = c.MaxDeliveries
	}
	return record
}

// joinFanout makes the stream ready to be read without a group.
func (c SubscriberConfig) joinFanout(
	ctx context.Context, topic string, logger watermill.LoggerAdapter, observer *subscriptionObserver,
) (subscription.Backend, error) {
	fanout, err := stream.NewFanout(ctx, c.Client, topic, c.StartID)
	if err != nil {
		return nil, err
	}
	fanout.WentBack = func(from, to string) {
		logger.Error("entries that were read are not in the stream any more; reading continues at an earlier ID", errWentBack,
			watermill.LogFields{"from": from, "to": to})
	}
	fanout.Missed = func(n int64) {
		logger.Error("entries were trimmed from the stream before the subscription read them", errMissed, watermill.LogFields{"count": n})
		if observer != nil {
			observer.TrimmedUnread(n)
		}
	}
	if conns := readConnections.of(c); conns != nil {
		fanout.Share(conns)
	}
	if observer != nil {
		fanout.OnReconnect(observer.Reconnected)
	}
	if err := fanout.CheckRights(ctx, c.ReadConnections > 0); err != nil {
		return nil, err
	}
	if err := c.checkWatch(ctx, topic); err != nil {
		return nil, err
	}
	backend := subscription.Fanout{Stream: fanout, Delayed: subscription.NoDelayed{}}
	if isDefaultUser(c.Client) { // users with names rarely may write, and can't be asked without being denied
		messages := stream.NewDelayed(c.Client, DelayedKey(topic), topic)
		backend.Delayed, backend.AnyDelayed = newMover(c.Client, topic, logger, func() {}), messages.Any
		backend.ClaimInterval = cmp.Or(max(c.ClaimInterval, 0), DefaultClaimInterval)
	}
	return backend, nil
}

// isDefaultUser reports whether the client connects as the server's default user.
func isDefaultUser(client redis.UniversalClient) bool {
	switch client := client.(type) {
	case interface{ Options() *redis.Options }:
		o := client.Options()
		return o.Username == "" && o.CredentialsProvider == nil && o.CredentialsProviderContext == nil && o.StreamingCredentialsProvider == nil
	case interface{ Options() *redis.ClusterOptions }:
		o := client.Options()
		return o.Username == "" && o.CredentialsProvider == nil && o.CredentialsProviderContext == nil && o.StreamingCredentialsProvider == nil
	case interface{ Options() *redis.RingOptions }:
		return client.Options().Username == ""
	default:
		return false
	}
}
