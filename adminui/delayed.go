package adminui

import (
	"context"
	"errors"

	"github.com/millrace/redisstream/admin"
)

// delayedBody is the body of the page of delayed messages.
type delayedBody struct {
	Filter   filter
	Total    int64
	Messages []admin.Delayed
	More     bool
	Late     bool
}

const delayedOnPage = 200

// delayed lists the delayed messages of a topic that a filter selects, in the order in which they come.
func (h *Handler) delayed(r *request) (page, error) {
	topic := r.param("topic")
	body := delayedBody{Filter: filter{Text: r.param("q")}}
	about, err := h.config.Admin.Topic(r.ctx, topic)
	if err != nil && !errors.Is(err, admin.ErrNoTopic) { // nothing of the topic may have come yet
		return page{}, err
	}
	body.Total = about.Delayed
	ctx, cancel := context.WithDeadline(r.ctx, half(r.ctx))
	defer cancel()
	for message, err := range h.config.Admin.Delayed(ctx, topic) {
		if err != nil && errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
			body.Late = true
			break
		}
		if err != nil {
			return page{}, err
		}
		if !body.Filter.delayed(message) {
			continue
		}
		if len(body.Messages) == delayedOnPage {
			body.More = true
			break
		}
		body.Messages = append(body.Messages, message)
	}
	return page{Title: "Delayed messages", Topic: topic, view: "delayed", Body: body}, nil
}
