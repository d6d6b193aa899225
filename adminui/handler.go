package adminui

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

// atOnce is how many requests are worked on at the same time. Others wait.
const atOnce = 8

// Handler serves the pages. It looks only at the last segment of a path, so it works under any prefix
// that ends with a slash, with and without http.StripPrefix. Each topic or group is in the query.
type Handler struct {
	config  Config
	origins *http.CrossOriginProtection
	sampler *sampler
	slots   chan struct{}
}

// New returns a Handler. The error wraps admin.ErrInvalidConfig and names the field; the server is
// not asked anything yet.
func New(config Config) (*Handler, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	origins := http.NewCrossOriginProtection()
	for _, origin := range config.TrustedOrigins {
		if err := origins.AddTrustedOrigin(origin); err != nil {
			return nil, invalid("TrustedOrigins", err)
		}
	}
	return &Handler{
		config: config, origins: origins, slots: make(chan struct{}, atOnce),
		sampler: newSampler(config.SampleInterval, config.Admin.Snapshot),
	}, nil
}

// Close ends the goroutine that measures topics for the charts, and waits for it. It runs only while someone
// looks at pages. The pages work after Close too, without new points in charts.
func (h *Handler) Close() error {
	h.sampler.close()
	return nil
}

// view makes the page of a GET request.
type view func(h *Handler, r *request) (page, error)

// views are the pages by the last segment of their path.
var views = map[string]view{
	"":         (*Handler).topics,
	"topic":    (*Handler).topic,
	"group":    (*Handler).group,
	"pending":  (*Handler).pending,
	"messages": (*Handler).messages,
	"message":  (*Handler).message,
	"find":     (*Handler).find,
	"dead":     (*Handler).deadLetters,
	"delayed":  (*Handler).delayed,
	"parked":   (*Handler).parked,
}

// request is a request with what all pages need.
type request struct {
	*http.Request

	ctx   context.Context //nolint:containedctx // it is that of the request, with its time-out
	token string          // against forged forms; empty: nothing can be changed
}

// param returns a parameter of the query, or of the form.
func (r *request) param(name string) string { return value(r.Form, name) }

// value returns the first one of values; empty: there is none.
func value(form url.Values, name string) string {
	for _, value := range values(form, name) {
		return value
	}
	return ""
}

// values returns the values of a field. Those of a field whose name ends with "~" are escaped: names of
// topics and groups are any bytes, and browsers send only UTF-8.
func values(form url.Values, name string) []string {
	list := slices.Clone(form[name])
	for _, escaped := range form[name+"~"] {
		if value, err := url.QueryUnescape(escaped); err == nil { // else it names nothing
			list = append(list, value)
		}
	}
	return list
}

// ServeHTTP answers GET, HEAD and, with Config.Actions, POST.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	timeout := h.config.Timeout
	if r.Method == http.MethodPost {
		timeout = h.config.ActionTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	asked := &request{Request: r, ctx: ctx}
	if err := h.dispatch(w, asked, name); err != nil {
		h.fail(w, asked, err)
	}
}

// dispatch answers a request. It has written nothing if it returns an error.
func (h *Handler) dispatch(w http.ResponseWriter, r *request, name string) error {
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case name == actPath && r.Method == http.MethodPost:
		return h.limited(r, func() error { return h.act(w, r) })
	case name == actPath, !get:
		return methodError(name)
	}
	if err := h.allow(r, Read); err != nil {
		return err
	}
	if asset, found := assets[name]; found {
		return asset.write(w, r)
	}
	if r.ParseForm() != nil {
		return badRequest("The address of this page has a mistake.")
	}
	if name == downloadPath {
		return h.limited(r, func() error { return h.download(w, r) })
	}
	view, found := views[name]
	if !found {
		return errNoPage
	}
	return h.limited(r, func() error {
		if h.config.Actions {
			r.token = issueToken(w, r.Request)
		}
		page, err := view(h, r)
		if err != nil {
			return err
		}
		return h.render(w, r, http.StatusOK, page)
	})
}

// limited calls do as soon as fewer than atOnce requests are worked on.
func (h *Handler) limited(r *request, do func() error) error {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		return do()
	case <-r.ctx.Done():
		return errBusy
	}
}

// allow asks Config.Authorize.
func (h *Handler) allow(r *request, action Action) error {
	if h.config.Authorize == nil {
		return nil
	}
	if err := h.config.Authorize(r.Request, action); err != nil {
		h.config.Logger.Info("The web page refuses a request", watermill.LogFields{
			"action": string(action), "user": h.config.User(r.Request), "reason": err.Error(),
		})
		return errForbidden
	}
	return nil
}

// may tells whether a page shows the form for an action.
func (h *Handler) may(r *request, action Action) bool {
	return h.config.Actions && r.token != "" && (h.config.Authorize == nil || h.config.Authorize(r.Request, action) == nil)
}

// half returns when a search stops, so that time is left to show what it found.
func half(ctx context.Context) time.Time {
	deadline, _ := ctx.Deadline()
	return time.Now().Add(time.Until(deadline) / 2)
}

// secure sets the headers that each answer has.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "+
		"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}
