package adminui

import (
	"github.com/millrace/redisstream/admin"
)

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
