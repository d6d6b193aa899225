package adminui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
)

var idPattern = regexp.MustCompile(`^[0-9]{1,20}(-[0-9]{1,20})?$`)

// isID tells whether text is the ID of an entry, also without its second part.
func isID(text string) bool { return idPattern.MatchString(text) }

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
	more := false
	for message, err := range h.config.Admin.Messages(r.ctx, topic, where) {
		if err != nil {
			return page{}, err
		}
		if len(body.Messages) == rowsOnPage {
			more = true
			break
		}
		body.Messages = append(body.Messages, message)
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

// messageBody is the body of the page of an entry.
type messageBody struct {
	Message  admin.Message
	Content  content
	Metadata []pair
	Fields   []pair // raw, if it can't be decoded
	Groups   []admin.Group
	Download string
}

// pair is a row of metadata or fields.
type pair struct{ Name, Value string }

// message shows an entry.
func (h *Handler) message(r *request) (page, error) {
	topic, id := r.param("topic"), r.param("id")
	message, err := h.config.Admin.Message(r.ctx, topic, id)
	if err != nil {
		return page{}, err
	}
	groups, err := h.config.Admin.Groups(r.ctx, topic)
	if err != nil {
		return page{}, err
	}
	body := describe(message)
	body.Groups, body.Download = groups, link(downloadPath, "topic", topic, "id", id)
	return page{Title: "Message " + id, Topic: topic, Tab: "messages", view: "message", Body: body}, nil
}

func describe(message admin.Message) messageBody {
	body := messageBody{Message: message, Content: contentOf(message.Payload)}
	for key, value := range message.Metadata {
		body.Metadata = append(body.Metadata, pair{key, value})
	}
	if message.Err != nil {
		for key, value := range message.Fields {
			body.Fields = append(body.Fields, pair{key, fmt.Sprint(value)})
		}
	}
	byName := func(a, b pair) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(body.Metadata, byName)
	slices.SortFunc(body.Fields, byName)
	return body
}

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

const downloadPath = "download"

// download sends the payload of an entry, or of a dead letter, as a file that no browser opens.
func (h *Handler) download(w http.ResponseWriter, r *request) error {
	stream := r.param("topic")
	if r.param("dead") != "" {
		stream = redisstream.DeadLetterTopic(stream)
	}
	message, err := h.config.Admin.Message(r.ctx, stream, r.param("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="message-%s.bin"`, message.ID))
	w.Header().Set("Content-Length", strconv.Itoa(len(message.Payload)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(message.Payload) // a visitor who left needs no answer
	}
	return nil
}
