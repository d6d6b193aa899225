package adminui

import (
	"context"
	"slices"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
)

// groupBody is the body of the page of a group.
type groupBody struct {
	Group     admin.Group
	Shares    []share // of the partitions; nil: the topic has none
	Consumers []admin.Consumer
	Buckets   []bucket
	Counted   int  // pending entries that the buckets have
	Partial   bool // there are more
	Charts    []chart
	Sampling  bool
}

// group shows a group: its state, charts, consumers and pending entries by age.
func (h *Handler) group(r *request) (page, error) {
	topic, group := r.param("topic"), r.param("group")
	about, err := h.config.Admin.Group(r.ctx, topic, group)
	if err != nil {
		return page{}, err
	}
	body := groupBody{Group: about, Sampling: h.config.SampleInterval > 0, Charts: charts(h.sampler.points(topic, group))}
	if body.Consumers, err = h.config.Admin.Consumers(r.ctx, topic, group); err != nil {
		return page{}, err
	}
	if body.Shares, err = h.shares(r.ctx, topic, group); err != nil {
		return page{}, err
	}
	if err = h.countByAge(r.ctx, &body, topic, group); err != nil {
		return page{}, err
	}
	return page{Title: name(group), Topic: topic, Group: group, view: "group", Body: body}, nil
}

// share is a partition of the group.
type share struct {
	admin.Group

	Partition int
	Of        int
}

// shares returns the partitions of a topic that have the group.
func (h *Handler) shares(ctx context.Context, topic, group string) (shares []share, err error) {
	partitions, err := h.config.Admin.Partitions(ctx, topic)
	for _, p := range partitions {
		_, partition, of, ok := redisstream.ParsePartitionTopic(p.Topic.Name)
		for _, g := range p.Groups {
			if ok && g.Name == group && p.Topic.Name != topic {
				shares = append(shares, share{g, partition, of})
			}
		}
	}
	return shares, err
}

// bucket is a row of the pending entries by age.
type bucket struct {
	Label string
	Until time.Duration // 0: no end
	N     int
	Width int // of 100
}

const countedPending = 10_000

func (h *Handler) countByAge(ctx context.Context, body *groupBody, topic, group string) error {
	body.Buckets = []bucket{
		{Label: "under 10 seconds", Until: 10 * time.Second},
		{Label: "under a minute", Until: time.Minute},
		{Label: "under 10 minutes", Until: 10 * time.Minute},
		{Label: "under an hour", Until: time.Hour},
		{Label: "under a day", Until: 24 * time.Hour},
		{Label: "a day and older"},
	}
	for entry, err := range h.config.Admin.Pending(ctx, topic, group, admin.PendingFilter{}) {
		if err != nil {
			return err
		}
		if body.Counted == countedPending {
			body.Partial = true
			break
		}
		body.Counted++
		i := slices.IndexFunc(body.Buckets, func(b bucket) bool { return b.Until == 0 || entry.Age < b.Until })
		body.Buckets[i].N++
	}
	for i := range body.Buckets {
		body.Buckets[i].Width = 100 * body.Buckets[i].N / max(body.Counted, 1)
	}
	return nil
}
