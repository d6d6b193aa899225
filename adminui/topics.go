package adminui

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/redisstream/admin"
)

const (
	topicsOnPage = 50
	topicsFound  = 10_000 // of a search, at most
)

// topicList is the body of the first page.
type topicList struct {
	Search   string
	Topics   []admin.Topic
	From, To int
	Found    int
	All      bool // nothing was left out
	Newer    string
	Older    string
}

// topics lists the topics in the order of their names.
func (h *Handler) topics(r *request) (page, error) {
	list := topicList{Search: r.param("q"), All: true}
	ctx, cancel := context.WithDeadline(r.ctx, half(r.ctx))
	defer cancel()
	var all []admin.Topic
	for topic, err := range h.config.Admin.Topics(ctx, containing(list.Search)) {
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil && len(all) > 0 {
				list.All = false
				break
			}
			return page{}, err
		}
		if len(all) == topicsFound {
			list.All = false
			break
		}
		all = append(all, topic)
	}
	slices.SortFunc(all, func(a, b admin.Topic) int { return cmp.Compare(a.Name, b.Name) })
	number, _ := strconv.Atoi(r.param("page"))
	start := min(max(number, 0)*topicsOnPage, len(all))
	end := min(start+topicsOnPage, len(all))
	list.Topics, list.Found, list.From, list.To = all[start:end], len(all), start+1, end
	if start > 0 {
		list.Newer = link("./", "q", list.Search, "page", strconv.Itoa(number-1))
	}
	if end < len(all) {
		list.Older = link("./", "q", list.Search, "page", strconv.Itoa(number+1))
	}
	return page{Title: "Topics", view: "topics", Body: list}, nil
}

// containing returns a pattern for names with this text; empty: all.
func containing(text string) string {
	if text == "" {
		return ""
	}
	return "*" + strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text) + "*"
}

// topicBody is the body of the page of a topic.
type topicBody struct {
	Topic  admin.Topic
	Groups []groupRow
}

// groupRow is a group of the table.
type groupRow struct {
	admin.Group

	Lags *chart // nil: there are not yet two points
}

// topic shows a topic with its groups.
func (h *Handler) topic(r *request) (page, error) {
	topic := r.param("topic")
	about, err := h.config.Admin.Topic(r.ctx, topic)
	if err != nil {
		return page{}, err
	}
	groups, err := h.config.Admin.Groups(r.ctx, topic)
	if err != nil {
		return page{}, err
	}
	body := topicBody{Topic: about}
	for _, group := range groups {
		row := groupRow{Group: group}
		if points := h.sampler.points(topic, group.Name); len(points) > 1 {
			lags := lagChart(points)
			lags.Series = lags.Series[:1] // there is room for one line
			row.Lags = &lags
		}
		body.Groups = append(body.Groups, row)
	}
	return page{Title: name(topic), Topic: topic, view: "topic", Body: body}, nil
}

// groupBody is the body of the page of a group.
type groupBody struct {
	Group     admin.Group
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
	if err = h.countByAge(r.ctx, &body, topic, group); err != nil {
		return page{}, err
	}
	return page{Title: name(group), Topic: topic, Group: group, view: "group", Body: body}, nil
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
