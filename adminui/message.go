package adminui

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
)

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
