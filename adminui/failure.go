package adminui

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/admin"
)

// failure is an error with a text for people.
type failure struct {
	status int
	text   string
	allow  string // the methods, if the method was wrong
}

func (f *failure) Error() string { return f.text }

var (
	errNoPage    = &failure{status: http.StatusNotFound, text: "There is no such page."}
	errBusy      = &failure{status: http.StatusServiceUnavailable, text: "Too many requests wait. Try again in a moment."}
	errForbidden = &failure{status: http.StatusForbidden, text: "You are not allowed to do that."}
	errReadOnly  = &failure{status: http.StatusForbidden, text: "This page is read-only: Config.Actions is off."}
	errForged    = &failure{status: http.StatusForbidden, text: "The form did not come from this page, or its cookie is gone. Load the page again."}
)

func badRequest(text string) error { return &failure{status: http.StatusBadRequest, text: text} }

func methodError(name string) error {
	allow := "GET, HEAD"
	if name == actPath {
		allow = "POST"
	}
	return &failure{status: http.StatusMethodNotAllowed, text: "This address does not know that method.", allow: allow}
}

// known are the errors that people can do something about.
var known = []struct {
	err error
	failure
}{
	{admin.ErrNoTopic, failure{status: http.StatusNotFound, text: "The topic does not exist (any more)."}},
	{admin.ErrNoGroup, failure{status: http.StatusNotFound, text: "The consumer group does not exist (any more)."}},
	{admin.ErrNoConsumer, failure{status: http.StatusNotFound, text: "The consumer does not exist (any more)."}},
	{admin.ErrNoEntry, failure{status: http.StatusNotFound, text: "The entry does not exist (any more)."}},
	{admin.ErrInUse, failure{status: http.StatusConflict, text: "The group or the consumer is in use. Stop its members first."}},
	{admin.ErrInvalidID, failure{status: http.StatusBadRequest, text: "That is not the ID of an entry."}},
	{admin.ErrAmbiguousID, failure{status: http.StatusConflict, text: "Several partitions have an entry with that ID. Name the partition as topic."}},
	{context.DeadlineExceeded, failure{status: http.StatusGatewayTimeout, text: "The Redis server did not answer in time."}},
	{context.Canceled, failure{status: http.StatusServiceUnavailable, text: "The request was cancelled."}},
}

// explain returns what people may see of an error. It leaves out the server's text, which may name
// addresses. The log has the full error.
func explain(err error) *failure {
	if own, is := errors.AsType[*failure](err); is {
		return own
	}
	for i := range known {
		if errors.Is(err, known[i].err) {
			return &known[i].failure
		}
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return &failure{status: http.StatusGatewayTimeout, text: "The Redis server did not answer in time."}
	}
	return &failure{status: http.StatusBadGateway, text: "The Redis server could not be asked, or refused. The log of this page's process says why."}
}

// fail answers with an error.
func (h *Handler) fail(w http.ResponseWriter, r *request, err error) {
	told := explain(err)
	if _, own := errors.AsType[*failure](err); !own && told.status >= http.StatusInternalServerError {
		h.config.Logger.Error("The web page could not answer a request", err, watermill.LogFields{"user": h.config.User(r.Request)})
	}
	if told.allow != "" {
		w.Header().Set("Allow", told.allow)
	}
	if err := h.render(w, r, told.status, page{Title: http.StatusText(told.status), view: "error", Body: told.text}); err != nil {
		http.Error(w, told.text, told.status)
	}
}
