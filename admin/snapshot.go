package admin

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/millrace/redisstream/internal/stream"
)

// Snapshot is the state of topics at a time.
type Snapshot struct {
	Time   time.Time // by the server's clock, when it was taken
	Topics []TopicSnapshot
}

// TopicSnapshot is a topic and its groups.
type TopicSnapshot struct {
	Topic  Topic
	Groups []Group
}

// snapshotPage is how many topics are asked for together.
const snapshotPage = 100

// Snapshot returns the state of topics and their groups. Without names it returns all topics, at
// most limit of them; 0 is no limit. A topic that does not exist is left out. It asks for 100
// topics or partitions at a time, in pipelines: about 5 round trips.
func (a *Admin) Snapshot(ctx context.Context, limit int, topics ...string) (Snapshot, error) {
	var snapshot Snapshot
	var page []Topic
	chosen, streams := 0, 0
	for topic, err := range a.chosen(ctx, topics) {
		if err != nil {
			return Snapshot{}, err
		}
		page = append(page, topic)
		if streams += max(topic.Partitions+topic.Draining, 1); streams >= snapshotPage {
			if err := a.addTo(ctx, &snapshot, page); err != nil {
				return Snapshot{}, err
			}
			page, streams = page[:0], 0
		}
		if chosen++; len(topics) == 0 && chosen == limit {
			break
		}
	}
	err := a.addTo(ctx, &snapshot, page)
	return snapshot, err
}

// addTo adds topics to a snapshot. A topic that was deleted since it was listed is left out.
func (a *Admin) addTo(ctx context.Context, snapshot *Snapshot, topics []Topic) error {
	var surveyed []stream.Surveyed
	for _, topic := range topics {
		for _, name := range topic.streams() {
			surveyed = append(surveyed, stream.Surveyed{InspectedKeys: keysOf(name), Groups: topic.Groups})
		}
	}
	reports := stream.Survey(ctx, a.client, surveyed)
	var sharing []*Group
	for _, topic := range topics {
		names := topic.streams()
		of := reports[:len(names)]
		reports = reports[len(names):]
		exists := topic.Partitions > 0
		for _, report := range of {
			switch {
			case report.Err == nil:
				exists = true
			case !stream.IsNoStream(report.Err):
				return topicError(topic.Name, report.Err)
			}
			if snapshot.Time.Before(report.State.Now) {
				snapshot.Time = report.State.Now
			}
		}
		if exists {
			groups := a.groupsIn(topic.Name, names, of)
			snapshot.Topics = append(snapshot.Topics, TopicSnapshot{topic, groups})
			if topic.Partitions > 0 {
				sharing = append(sharing, pointers(groups)...)
			}
		}
	}
	if err := a.countMembers(ctx, sharing); err != nil {
		return fmt.Errorf("members: %w", stream.Redact(err))
	}
	return nil
}

// chosen iterates over the topics that exist, of those with names or of all.
func (a *Admin) chosen(ctx context.Context, names []string) iter.Seq2[Topic, error] {
	if len(names) == 0 {
		return a.Topics(ctx, "")
	}
	return func(yield func(Topic, error) bool) {
		for page := range slices.Chunk(names, snapshotPage) {
			topics, errs := a.describe(ctx, page)
			for i, name := range page {
				if stream.IsNoStream(errs[i]) {
					continue
				}
				if errs[i] != nil {
					yield(Topic{}, topicError(name, errs[i]))
					return
				}
				if !yield(topics[i], nil) {
					return
				}
			}
		}
	}
}
