package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Repair changes a consumer group from outside, also while its members run.
type Repair struct {
	client              redis.UniversalClient
	key, group          string
	queue, members, off string // its retry queue, its member records, the key that pauses it
	owner               string // the key that says who owns the stream
}

// NewRepair returns a Repair of a group. The keys are those of its retry queue, its members, its
// pause and its owner.
func NewRepair(client redis.UniversalClient, key, group, queue, members, pause, owner string) *Repair {
	return &Repair{client: client, key: key, group: group, queue: queue, members: members, off: pause, owner: owner}
}

// GivenBack is the name of the consumer that owns the pending entries of a removed consumer until
// others take them over. It is removed when it is idle, like a consumer with a generated name.
const GivenBack = "redisstream~GIVENBACK2"

// These bound how long one call of a script blocks the server.
const (
	// acknowledgePage is how many pending entries are acknowledged.
	acknowledgePage = 500
	// dropPage is how many pending entries get another owner. On Redis 8.6 XCLAIM with an old time
	// takes longer if the group has more pending entries: 0.1 ms and more with 100,000.
	dropPage = 25
)

// Holding is who has an entry of a group.
type Holding struct {
	Consumer   string // its owner; of a queued entry: empty if no consumer has it
	Deliveries int64
	Queued     bool // it is in the retry queue
}

// ErrNotHeld is the error if a group has an entry neither pending nor in its retry queue.
var ErrNotHeld = errors.New("the entry is not pending")

// Holding returns who has an entry. The error may be ErrNotHeld.
func (r *Repair) Holding(ctx context.Context, id string) (Holding, error) {
	reply, err := holdingScript.Run(ctx, r.client, append([]string{r.key}, r.queueKeys()...), r.group, id).Slice()
	switch {
	case errors.Is(err, redis.Nil):
		return Holding{}, ErrNotHeld
	case err != nil:
		return Holding{}, err
	case len(reply) != 3:
		return Holding{}, fmt.Errorf("holding script: %d elements in its reply", len(reply))
	}
	var h Holding
	h.Consumer, _ = reply[0].(string)
	deliveries, _ := reply[1].(string)
	h.Deliveries, err = strconv.ParseInt(deliveries, 10, 64)
	h.Queued = reply[2] == "queued"
	return h, err
}

// queueKeys returns the keys of the retry queue; none if a cluster has them in another slot.
func (r *Repair) queueKeys() []string {
	if slot(r.queue) != slot(r.key) {
		return nil
	}
	return retryKeys(r.queue)
}

// Skip acknowledges an entry of any consumer. It reports whether the group still had it.
func (r *Repair) Skip(ctx context.Context, id string, h Holding) (bool, error) {
	if !h.Queued {
		n, err := r.client.XAck(ctx, r.key, r.group, id).Result()
		return n > 0, err
	}
	lost, err := r.as(id, h).retries.settle(ctx, acknowledge, []Lease{{ID: id}})
	return len(lost) == 0, err
}

// DeadLetter moves an entry to the dead letters, as Group.DeadLetter does, if it still has that
// holder. It checks the rights first: if only the ack were refused, each attempt would add a dead letter.
func (r *Repair) DeadLetter(ctx context.Context, id string, h Holding, target DeadLetterTarget, further []any) (DeadLetterResult, error) {
	rights := []right{on(r.key, "xack", r.group, "0-0"), on(r.key, "xrange", "-", "+"), on(target.Stream, "xadd", "*", "", "")}
	if h.Queued {
		entries := retryKeys(r.queue)[1]
		rights = append(rights, on(r.queue, "zrem", ""), on(r.queue, "exists"), on(entries, "hdel", ""))
	}
	if err := check(ctx, r.client, r.key, rights); err != nil {
		return DeadLetterNotOwned, err
	}
	return r.as(id, h).DeadLetter(ctx, id, target, further)
}

// as returns the consumer that has an entry, to act in its name.
func (r *Repair) as(id string, h Holding) *Group {
	g := NewGroup(r.client, r.key, r.group, h.Consumer)
	if h.Queued {
		g.retries.keys = r.queueKeys()
		g.retries.hold([]Entry{{ID: id}})
	}
	return g
}

// SetPosition sets the group's position (XGROUP SETID). read is how many entries were ever added up
// to it; below 0: unknown.
func (r *Repair) SetPosition(ctx context.Context, id string, read int64) error {
	args := []any{"xgroup", "setid", r.key, r.group, id}
	if read >= 0 {
		args = append(args, "entriesread", read)
	}
	return r.client.Do(ctx, args...).Err()
}

// AcknowledgeUpTo acknowledges all pending entries up to an ID, and returns how many. A dry run only
// counts them.
func (r *Repair) AcknowledgeUpTo(ctx context.Context, id string, dryRun bool) (n int64, err error) {
	for from := "-"; from != ""; {
		reply, err := acknowledgeScript.Run(ctx, r.client, []string{r.key}, r.group, from, id, acknowledgePage, flag(dryRun)).Slice()
		if err != nil {
			return n, err
		}
		if len(reply) != 2 {
			return n, fmt.Errorf("acknowledge script: %d elements in its reply", len(reply))
		}
		n += number(reply[0])
		from, _ = reply[1].(string)
	}
	return n, nil
}

// Pause pauses the group, unless it is paused already.
func (r *Repair) Pause(ctx context.Context, record PauseRecord) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return pauseScript.Run(ctx, r.client, []string{r.key, r.off}, r.group, text).Err()
}

// Resume ends a pause.
func (r *Repair) Resume(ctx context.Context) error { return r.client.Del(ctx, r.off).Err() }

// Destroy deletes the group, its retry queue, its pause, its owner key and its member records. What a
// later group with its name must not find goes first: while the group is there, Destroy can be
// repeated. So the right to destroy it is checked before. The records go last, as they tell that its
// members are dead; what is left of them expires. A group that is gone is no error: the reply to an
// earlier try was lost.
func (r *Repair) Destroy(ctx context.Context) error {
	if err := check(ctx, r.client, r.key, []right{on(r.key, "xgroup|destroy", r.group)}); err != nil {
		return err
	}
	if err := r.client.Unlink(ctx, append(retryKeys(r.queue), r.off, r.owner)...).Err(); err != nil {
		return err
	}
	if err := r.client.XGroupDestroy(ctx, r.key, r.group).Err(); err != nil {
		return err
	}
	return r.client.Unlink(ctx, r.members).Err()
}

// ErrAlive is the error if a consumer showed activity.
var ErrAlive = errors.New("the consumer is alive")

// Record returns the member record of a consumer as it is stored; empty: it has none.
func (r *Repair) Record(ctx context.Context, consumer string) (string, error) {
	record, err := r.client.HGet(ctx, r.members, consumer).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return record, err
}

// DropConsumer removes a consumer, and gives its pending entries to GivenBack. All other consumers
// may take them over at once. It returns how many entries it gave. record is the consumer's record
// from before it was found dead. The error is ErrAlive if the record has changed, or the consumer
// was active less than idle ago.
func (r *Repair) DropConsumer(ctx context.Context, consumer, record string, idle time.Duration) (given int64, err error) {
	keys := []string{r.key, r.members}
	if slot(r.members) != slot(r.key) {
		keys = keys[:1]
	}
	for {
		n, err := dropConsumerScript.Run(ctx, r.client, keys, r.group, consumer, GivenBack, dropPage, record, idle.Milliseconds()).Int64()
		if err != nil {
			return given, err
		}
		if n < 0 {
			return given, ErrAlive
		}
		given += n
		if n < dropPage {
			return given, nil
		}
	}
}
