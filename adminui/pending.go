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
