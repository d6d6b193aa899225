package adminui

import (
	"slices"
	"strings"
	"time"

	"github.com/millrace/redisstream/admin"
)

// messagesBody is the body of the message browser.
type messagesBody struct {
	At       string
	Messages []admin.Message
	Newer    string
	Older    string
	Newest   string
}

// messages lists entries of a topic, the newest first.
func (h *Handler) messages(r *request) (page, error) {
	topic := r.param("topic")
	body := messagesBody{At: r.param("at"), Newest: link("messages", "topic", topic)}
	where := admin.Range{Reverse: true}
	switch older, newer := r.param("older"), r.param("newer"); {
	case isID(older):
		where.To = "(" + older
	case isID(newer):
		where = admin.Range{From: "(" + newer}
	case older+newer != "":
		return page{}, admin.ErrInvalidID
	case body.At != "":
		var err error
		if where.To, err = position(body.At, time.Now()); err != nil {
			return page{}, err
		}
	}
	more, last := false, ""
	for message, err := range h.config.Admin.Messages(r.ctx, topic, where) {
		if err != nil {
			return page{}, err
		}
		if len(body.Messages) >= rowsOnPage && message.ID != last { // entries of several partitions may have one ID
			more = true
			break
		}
		body.Messages, last = append(body.Messages, message), message.ID
	}
	if !where.Reverse {
		slices.Reverse(body.Messages)
	}
	body.addLinks(topic, where, more)
	return page{Title: "Messages", Topic: topic, view: "messages", Body: body}, nil
}

// addLinks adds the links to what is newer and older. more: there are entries behind the last one
// that was read.
func (b *messagesBody) addLinks(topic string, where admin.Range, more bool) {
	if len(b.Messages) == 0 {
		return
	}
	if where.To != "" || !where.Reverse && more {
		b.Newer = link("messages", "topic", topic, "newer", b.Messages[0].ID)
	}
	if more || !where.Reverse {
		b.Older = link("messages", "topic", topic, "older", b.Messages[len(b.Messages)-1].ID)
	}
}

// position returns the end of a Range whose newest entry is the one with an ID, or the last at a time in UTC
// or at a time ago.
func position(at string, now time.Time) (string, error) {
	at = strings.TrimSpace(at)
	if isID(at) {
		return at, nil
	}
	if ago, err := time.ParseDuration(at); err == nil {
		return before(now.Add(-ago.Abs())), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, at); err == nil {
			return before(t), nil
		}
	}
	return "", badRequest("That is neither an ID, nor a time such as 2026-11-27 22:10, nor an age such as 10m.")
}

// before returns the end of a Range whose newest entry is the last one of that millisecond.
func before(t time.Time) string { return "(" + admin.IDAt(t.Add(time.Millisecond)) }
