package stream

import (
	"context"
	"time"
)

// consumersPage is how many consumers are described in one step.
const consumersPage = 250

// ConsumerState is the state of a consumer.
type ConsumerState struct {
	Name    string
	Pending int64
	Idle    time.Duration
	Record  *MemberRecord // what it says of itself; nil: nothing
}

// ConsumersOf returns the consumers of groups, and the server's time. Consumers that only mark
// something are left out.
func (i *Inspection) ConsumersOf(ctx context.Context, groups []string) (now time.Time, consumers [][]ConsumerState, err error) {
	consumers = make([][]ConsumerState, len(groups))
	type next struct{ group, skip int }
	var open []next
	for n := range groups {
		open = append(open, next{group: n})
	}
	for len(open) > 0 {
		batch := open[:min(len(open), callsPage)]
		calls := make([]call, len(batch))
		for n, o := range batch {
			keys := []string{i.keys.Stream}
			if i.keys.MembersOfGroups != "" {
				keys = append(keys, i.keys.MembersOfGroups+groups[o.group])
			}
			calls[n] = call{inspectConsumersScript, keys, []any{groups[o.group], o.skip, consumersPage}}
		}
		var further []next
		for n, reply := range runAll(ctx, i.client, calls) {
			list, err := reply.Slice()
			if IsGroupGone(err) {
				continue
			}
			if err != nil {
				return now, nil, err
			}
			r, o := row(list), batch[n]
			now = r.now()
			consumers[o.group] = append(consumers[o.group], consumerStates(r.list(2))...)
			if r.number(1) > 0 {
				further = append(further, next{o.group, o.skip + consumersPage})
			}
		}
		open = append(further, open[len(batch):]...)
	}
	return now, consumers, nil
}

// callsPage is how many scripts go in one pipeline: other clients of the server wait behind it.
const callsPage = 4

func consumerStates(page row) (consumers []ConsumerState) {
	for n := range page {
		r := page.list(n)
		if r.text(0) == Recreated {
			continue
		}
		consumers = append(consumers, ConsumerState{
			Name: r.text(0), Pending: r.number(1), Idle: r.duration(2), Record: memberRecordOf(r.text(3)),
		})
	}
	return consumers
}

// memberRecordOf returns the record that a text has; nil: none that can be read.
func memberRecordOf(text string) *MemberRecord {
	record, err := ParseMemberRecord(text)
	if err != nil {
		return nil
	}
	return &record
}
