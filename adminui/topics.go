package adminui

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

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
