package adminui

import (
	"github.com/millrace/redisstream/admin"
)

const rowsOnPage = 50

// pendingBody is the body of the page of pending entries.
type pendingBody struct {
	Consumer string
	Entries  []admin.PendingEntry
	First    string
	Older    string // the next page, which has newer entries
}

// pending lists the pending entries of a group, the oldest first.
func (h *Handler) pending(r *request) (page, error) {
	topic, group := r.param("topic"), r.param("group")
	body := pendingBody{Consumer: r.param("consumer")}
	filter := admin.PendingFilter{From: r.param("from"), Consumer: body.Consumer}
	if filter.From != "" && !isID(filter.From) {
		return page{}, admin.ErrInvalidID
	}
	for entry, err := range h.config.Admin.Pending(r.ctx, topic, group, filter) {
		if err != nil {
			return page{}, err
		}
		if len(body.Entries) == rowsOnPage {
			body.Older = link("pending", "topic", topic, "group", group, "consumer", body.Consumer, "from", entry.ID)
			break
		}
		body.Entries = append(body.Entries, entry)
	}
	if filter.From != "" {
		body.First = link("pending", "topic", topic, "group", group, "consumer", body.Consumer)
	}
	return page{Title: "Pending entries", Topic: topic, Group: group, view: "pending", Body: body}, nil
}

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
