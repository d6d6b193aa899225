package adminui

import (
	"context"
	"errors"
	"strings"

	"github.com/millrace/redisstream/admin"
)

// findBody is the body of the search for a UUID.
type findBody struct {
	UUID  string
	Found []admin.Found
	Late  bool // the search did not end in time
}

const foundMessages = 20

// find shows the messages with a UUID, and what each group did with them.
func (h *Handler) find(r *request) (page, error) {
	topic := r.param("topic")
	body := findBody{UUID: strings.TrimSpace(r.param("uuid"))}
	where := admin.Range{From: r.param("from"), To: r.param("to")}
	if where.From != "" && !isID(where.From) || where.To != "" && !isID(where.To) {
		return page{}, admin.ErrInvalidID
	}
	ctx, cancel := context.WithDeadline(r.ctx, half(r.ctx))
	defer cancel()
	if body.UUID != "" {
		for found, err := range h.config.Admin.Find(ctx, topic, body.UUID, where) {
			if err != nil && errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
				body.Late = true
				break
			}
			if err != nil {
				return page{}, err
			}
			if body.Found = append(body.Found, found); len(body.Found) == foundMessages {
				break
			}
		}
	}
	return page{Title: "Find a message", Topic: topic, Tab: "messages", view: "find", Body: body}, nil
}
