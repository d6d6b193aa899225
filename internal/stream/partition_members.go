package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// PartitionMembers is the record of the members of a consumer group on a partitioned topic. Each
// member writes what it holds, and reads what the others hold. All calls may be repeated.
type PartitionMembers struct {
	client redis.UniversalClient
	keys   []string
}

// NewPartitionMembers returns the record in the hash at key. Two more keys in its slot belong to
// it: key:leases and key:changes.
func NewPartitionMembers(client redis.UniversalClient, key string) *PartitionMembers {
	return &PartitionMembers{client, []string{key, key + ":leases", key + ":changes"}}
}

// CheckRights returns an error that names the commands that a member runs on the record and that the
// user may not run.
func (m *PartitionMembers) CheckRights(ctx context.Context) error {
	members, leases, changes := m.keys[0], m.keys[1], m.keys[2]
	rights := append(
		toRunScripts(members, leases, changes),
		on(members, "hget", ""), on(members, "hgetall"), on(members, "hset", "", ""), on(members, "hdel", ""), toAskTheTime(members),
	)
	for _, set := range []string{leases, changes} {
		rights = append(rights, on(set, "zadd", 0, ""), on(set, "zrem", ""), on(set, "zrangebyscore", "-inf", 0))
	}
	for _, key := range m.keys {
		rights = append(rights, on(key, "pexpire", 1), on(key, "del"))
	}
	rights = append(rights, on(leases, "zrange", 0, 0), on(leases, "zscore", ""), on(leases, "zcard"))
	return check(ctx, m.client, members, rights)
}

// maxPartitionMembers is how many members a group may have: the reply to a newcomer has them all.
const maxPartitionMembers = 2000

// Beat is what a member says of itself.
type Beat struct {
	Name  string
	State string        // not empty
	Lease time.Duration // without a further Beat the member is removed after that time
	Known int64         // Version of the last reply; 0: none
}

// BeatReply is what changed in the record since a version.
type BeatReply struct {
	Version int64
	All     bool              // States has all members; else those that changed, and nobody is gone
	Age     time.Duration     // of the record: it is new after FLUSHALL, and when all were silent for their leases
	Next    time.Duration     // until the next lease is over, if nobody renews it
	States  map[string]string // by name
}

// Version returns the version of the record, which each change of it raises; 0: there is no record
// (HGET).
func (m *PartitionMembers) Version(ctx context.Context) (int64, error) {
	head, err := m.client.HGet(ctx, m.keys[0], "").Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	text, _, _ := strings.Cut(head, " ")
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("partition members: version: %w", err)
	}
	return version, nil
}

// Beat writes what a member says of itself, and removes members whose leases are over.
func (m *PartitionMembers) Beat(ctx context.Context, beat Beat) (BeatReply, error) {
	return m.run(ctx, beat)
}

// Leave removes a member.
func (m *PartitionMembers) Leave(ctx context.Context, name string) error {
	_, err := m.run(ctx, Beat{Name: name})
	return err
}

func (m *PartitionMembers) run(ctx context.Context, beat Beat) (BeatReply, error) {
	reply, err := beatScript.Run(ctx, m.client, m.keys,
		beat.Name, beat.State, beat.Lease.Milliseconds(), beat.Known, maxPartitionMembers, membersExpire.Milliseconds()).Slice()
	if err != nil {
		return BeatReply{}, err
	}
	result, err := parseBeatReply(reply)
	if err != nil {
		return BeatReply{}, fmt.Errorf("beat script: %w", err)
	}
	return result, nil
}

func parseBeatReply(reply []any) (BeatReply, error) {
	if len(reply) != 5 {
		return BeatReply{}, fmt.Errorf("%d elements in its reply", len(reply))
	}
	var numbers [4]int64
	for i := range numbers {
		number, ok := reply[i].(int64)
		if !ok {
			return BeatReply{}, fmt.Errorf("element %d is no number", i)
		}
		numbers[i] = number
	}
	rows, ok := reply[4].([]any)
	if !ok || len(rows)%2 != 0 {
		return BeatReply{}, errors.New("no list of members")
	}
	result := BeatReply{
		Version: numbers[0], All: numbers[1] == 1,
		Age: time.Duration(numbers[2]) * time.Millisecond, Next: time.Duration(numbers[3]) * time.Millisecond,
		States: make(map[string]string, len(rows)/2),
	}
	for i := 0; i < len(rows); i += 2 {
		name, named := rows[i].(string)
		value, valued := rows[i+1].(string)
		if !named || !valued {
			return BeatReply{}, errors.New("a member is no text")
		}
		_, result.States[name], _ = strings.Cut(value, " ")
	}
	return result, nil
}
