package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/millrace/redisstream/internal/stream"
)

// Partitions returns the partitions of a topic, each as a topic with its own groups: lag, pending
// entries, and the active consumer. Those that drain come last. Partitions to which nothing was
// published, and that have no group, are left out. A topic without partitions comes alone. It asks for
// all of them together, in pipelines.
func (a *Admin) Partitions(ctx context.Context, topic string) ([]TopicSnapshot, error) {
	names, err := a.streams(ctx, topic)
	if err != nil {
		return nil, err
	}
	snapshot, err := a.Snapshot(ctx, 0, names...)
	return snapshot.Topics, err
}

// streams returns the names of the topic's streams.
func (t Topic) streams() []string {
	return stream.PartitionCount{Partitions: t.Partitions, Draining: t.Draining}.Streams(t.Name)
}

// describe returns topics, with zero values for those that do not exist, and the error of each.
func (a *Admin) describe(ctx context.Context, names []string) (topics []Topic, errs []error) {
	keys := make([]stream.InspectedKeys, len(names))
	for i, name := range names {
		keys[i] = keysOf(name)
	}
	states, errs := stream.TopicStates(ctx, a.client, keys)
	topics = make([]Topic, len(names))
	var strings []int // topics that are no streams
	for i, name := range names {
		switch {
		case errs[i] == nil:
			topics[i] = topicOf(name, states[i])
		case stream.IsWrongType(errs[i]) || stream.IsNoStream(errs[i]) && stream.CanHavePartitions(name):
			strings = append(strings, i)
		}
	}
	for i, topic := range a.partitioned(ctx, pick(names, strings)) {
		at := strings[i]
		switch {
		case topic.err != nil:
			errs[at] = topic.err
		case topic.Partitions > 0:
			topics[at], errs[at] = topic.Topic, nil
		}
	}
	return topics, errs
}

func pick(names []string, which []int) []string {
	picked := make([]string, len(which))
	for i, at := range which {
		picked[i] = names[at]
	}
	return picked
}

// partitionedTopic is a topic; without partitions it is a zero value.
type partitionedTopic struct {
	Topic

	err error
}

// partitioned returns the topics with these names, of which those with partitions are described. It
// asks for their numbers, then for all streams together.
func (a *Admin) partitioned(ctx context.Context, names []string) []partitionedTopic {
	topics := make([]partitionedTopic, len(names))
	if len(names) == 0 {
		return topics
	}
	counts, failures := stream.PartitionCounts(ctx, a.client, names)
	var keys []stream.InspectedKeys
	var of []int // the topic of each
	for i, count := range counts {
		if topics[i].err = failures[i]; count.Partitions == 0 {
			continue
		}
		topics[i].Topic = Topic{Name: names[i], Partitions: count.Partitions, Draining: count.Draining}
		for _, name := range count.Streams(names[i]) {
			keys, of = append(keys, keysOf(name)), append(of, i)
		}
	}
	states, errs := stream.TopicStates(ctx, a.client, keys)
	for i, state := range states {
		topic := &topics[of[i]]
		switch {
		case errs[i] == nil:
			addPartition(&topic.Topic, topicOf("", state))
		case !stream.IsNoStream(errs[i]):
			topic.err = cmp.Or(topic.err, errs[i])
		}
	}
	return topics
}

// addPartition adds a partition to its topic.
func addPartition(t *Topic, p Topic) {
	t.Length, t.Added = t.Length+p.Length, t.Added+p.Added
	t.FirstID = older(t.FirstID, p.FirstID)
	if stream.Precedes(cmp.Or(t.LastID, "0-0"), p.LastID) {
		t.LastID = p.LastID
	}
	t.Oldest, t.Newest = timeOf(t.FirstID), timeOf(t.LastID)
	if t.Bytes += p.Bytes; p.Bytes < 0 || t.Bytes < p.Bytes {
		t.Bytes = -1
	}
	t.Groups = max(t.Groups, p.Groups)
	t.DeadLetters, t.Delayed, t.Parked = t.DeadLetters+p.DeadLetters, t.Delayed+p.Delayed, t.Parked+p.Parked
}

// groupsIn returns the groups of a topic, from what its streams report. Those of several partitions
// lack what countMembers adds.
func (a *Admin) groupsIn(topic string, names []string, reports []stream.TopicReport) []Group {
	if names[0] == topic {
		return a.groupsOf(topic, reports[0].Groups)
	}
	all := make(map[string]*Group)
	consumers := make(map[string]map[string]Consumer)
	for i, name := range names {
		for _, g := range a.groupsOf(name, reports[i].Groups) {
			if all[g.Name] == nil {
				all[g.Name] = &Group{Topic: topic, Name: g.Name, Lag: Lag{Exact: LagExact}}
				consumers[g.Name] = make(map[string]Consumer)
			}
			addGroup(all[g.Name], g)
		}
		for _, report := range reports[i].Groups {
			for _, state := range report.Members.Consumers {
				addConsumer(consumers[report.Name], a.consumerOf(state, report.Members.Now))
			}
		}
	}
	groups := make([]Group, 0, len(all))
	for _, g := range all {
		countConsumers(g, consumers[g.Name])
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(x, y Group) int { return strings.Compare(x.Name, y.Name) })
	return groups
}

// addGroup adds the group of a partition, without its consumers: one may have several partitions.
func addGroup(g *Group, p Group) {
	g.Lag = g.Lag.and(p.Lag)
	g.Pending, g.Parked = g.Pending+p.Pending, g.Parked+p.Parked
	g.OldestID, g.OldestAge = older(g.OldestID, p.OldestID), max(g.OldestAge, p.OldestAge)
	g.MaxDeliveries = max(g.MaxDeliveries, p.MaxDeliveries)
	g.BlockedBy = cmp.Or(g.BlockedBy, p.BlockedBy)
	g.Paused = cmp.Or(g.Paused, p.Paused)
	g.BlocksTrimming = g.BlocksTrimming || p.BlocksTrimming
}

// countConsumers counts the consumers of a group, each once.
func countConsumers(g *Group, consumers map[string]Consumer) {
	g.Consumers = len(consumers)
	for _, c := range consumers {
		if c.State != ConsumerDead {
			g.Members++
		}
		if c.State == ConsumerHung {
			g.Hung++
		}
	}
	g.State = stateOf(*g)
}

// addConsumer adds what a consumer has of one more partition.
func addConsumer(all map[string]Consumer, c Consumer) {
	known, again := all[c.Name]
	if again {
		c = known.and(c)
	}
	all[c.Name] = c
}

// heldMost is how many entries of Held and Failing a consumer reports.
const heldMost = 10

// and returns the consumer with what it has of both.
func (c Consumer) and(p Consumer) Consumer {
	latest := c
	if p.Seen.After(c.Seen) {
		latest = p
	}
	c.Host, c.PID, c.Started, c.Seen = latest.Host, latest.PID, latest.Started, latest.Seen
	c.Reports, c.Paused = c.Reports || p.Reports, c.Paused || p.Paused
	c.Pending, c.InFlight, c.ReadAhead = c.Pending+p.Pending, c.InFlight+p.InFlight, c.ReadAhead+p.ReadAhead
	c.Idle = min(c.Idle, p.Idle)
	c.Held, c.Failing = longest(c.Held, p.Held), longest(c.Failing, p.Failing)
	c.Owns = slices.Concat(c.Owns, p.Owns)
	for _, state := range []ConsumerState{ConsumerHung, ConsumerWorking, ConsumerIdle} {
		if c.State == state || p.State == state {
			c.State = state
			break
		}
	}
	return c
}

func longest(a, b []Held) []Held {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y Held) int { return cmp.Compare(y.For, x.For) })
	return all[:min(len(all), heldMost)]
}
