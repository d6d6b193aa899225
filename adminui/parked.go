package adminui

import (
	"github.com/millrace/redisstream/admin"
)

// parkedBody is the body of the page of parked messages.
type parkedBody struct {
	Messages []admin.Parked
	More     bool
}

// parked lists the messages in the retry queue of a group that are due first.
func (h *Handler) parked(r *request) (page, error) {
	topic, group := r.param("topic"), r.param("group")
	var body parkedBody
	for message, err := range h.config.Admin.Parked(r.ctx, topic, group) {
		if err != nil {
			return page{}, err
		}
		if len(body.Messages) == 4*rowsOnPage {
			body.More = true
			break
		}
		body.Messages = append(body.Messages, message)
	}
	return page{Title: "Parked messages", Topic: topic, Group: group, view: "parked", Body: body}, nil
}
