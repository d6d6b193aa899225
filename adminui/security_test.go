package adminui_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/adminui"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNew_config(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for field, config := range map[string]adminui.Config{
		"Admin":          {},
		"Timeout":        {Admin: newAdmin(b, b.Client), Timeout: -1},
		"ActionTimeout":  {Admin: newAdmin(b, b.Client), ActionTimeout: -1},
		"TrustedOrigins": {Admin: newAdmin(b, b.Client), TrustedOrigins: []string{"ops.example.com"}},
	} {
		_, err := adminui.New(config)
		require.ErrorIs(t, err, admin.ErrInvalidConfig)
		assert.ErrorContains(t, err, field)
	}
}

// Each answer has the headers that keep other sites and hostile content away.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := open(fixture.New(t), nil)
	for _, path := range []string{"", "app.css", "app.js", "nothing", "topic?topic=none", "act"} {
		got := s.send(s.request(http.MethodGet, path))
		policy := got.Header.Get("Content-Security-Policy")
		for _, rule := range []string{
			"default-src 'none'", "style-src 'self'", "img-src 'self' data:", "script-src 'self'", "connect-src 'self'",
			"form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
		} {
			assert.Contains(t, policy, rule, path)
		}
		assert.NotContains(t, policy, "unsafe", path)
		assert.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "no-referrer", got.Header.Get("Referrer-Policy"), path)
		assert.Equal(t, "no-store", got.Header.Get("Cache-Control"), path)
		assert.NotEmpty(t, got.Header.Get("Content-Type"), path)
	}
	for _, cookie := range s.send(s.request(http.MethodGet, "")).Cookies() {
		t.Errorf("a second cookie: %v", cookie)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	s := open(fixture.New(t), nil)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		got := s.send(s.request(method, "topic"))
		assert.Equal(t, http.StatusMethodNotAllowed, got.StatusCode, method)
		assert.Equal(t, "GET, HEAD", got.Header.Get("Allow"))
	}
	got := s.send(s.request(http.MethodGet, "act"))
	assert.Equal(t, http.StatusMethodNotAllowed, got.StatusCode)
	assert.Equal(t, "POST", got.Header.Get("Allow"))

	head := s.send(s.request(http.MethodHead, ""))
	assert.Equal(t, http.StatusOK, head.StatusCode)
	assert.Empty(t, head.body)
	assert.Positive(t, head.ContentLength)
}

// A form of another site does nothing: the browser names its site, and it has no token.
func TestForms_forged(t *testing.T) {
	t.Parallel()
	s := open(fixture.New(t), nil)
	s.Publish(1)
	s.ReadAs("c", 1)
	token := s.token(s.page("group", "topic", s.Topic, "group", "g"))
	valid := url.Values{"action": {"pause"}, "topic": {s.Topic}, "group": {"g"}, "redisstream_form": {token}}
	without := url.Values{"action": {"pause"}, "topic": {s.Topic}, "group": {"g"}, "confirm": {"1"}}

	for _, from := range []string{"cross-site", "same-site"} {
		assert.Equal(t, http.StatusForbidden, s.send(s.form(valid, from)).StatusCode, from)
	}
	assert.Equal(t, http.StatusForbidden, s.post(without).StatusCode, "no token")
	wrong := url.Values{"action": {"pause"}, "topic": {s.Topic}, "group": {"g"}, "redisstream_form": {strings.Repeat("A", len(token))}}
	assert.Equal(t, http.StatusForbidden, s.post(wrong).StatusCode, "another token")
	foreign := s.form(valid, "")
	foreign.Header.Del("Sec-Fetch-Site")
	foreign.Header.Set("Origin", "https://evil.example")
	assert.Equal(t, http.StatusForbidden, s.send(foreign).StatusCode, "an old browser")
	jar := s.browser.Jar
	s.browser.Jar = nil
	assert.Equal(t, http.StatusForbidden, s.post(valid).StatusCode, "no cookie")
	s.browser.Jar = jar

	group, err := newAdmin(s.Bench, s.Client).Group(t.Context(), s.Topic, "g")
	require.NoError(t, err)
	assert.Nil(t, group.Paused)
	assert.Equal(t, http.StatusOK, s.post(valid).StatusCode, "the form itself works")
}

func TestForms_bounded(t *testing.T) {
	t.Parallel()
	s := open(fixture.New(t), nil)
	s.Publish(1)
	s.ReadAs("c", 1)
	got := s.post(url.Values{"action": {"pause"}, "reason": {strings.Repeat("x", 2<<20)}})
	assert.Equal(t, http.StatusBadRequest, got.StatusCode)
	for _, form := range []url.Values{{}, {"action": {"nothing"}}, {"action": {"drop"}, "topic": {s.Topic}}, {"action": {"drop"}, "all": {"1"}, "confirm": {"1"}}} {
		form.Set("redisstream_form", s.token(s.page("group", "topic", s.Topic, "group", "g")))
		assert.Equal(t, http.StatusBadRequest, s.post(form).StatusCode, "%v", form)
	}
}

// Without Actions there is no form that changes something, and no way to send one.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.RefuseMessages(2)
	s := open(b, func(c *adminui.Config) { c.Actions = false })
	id := s.DeadLetters()[0].ID
	for _, path := range []string{"", "topic", "group", "pending", "parked", "messages", "dead", "delayed"} {
		body := s.page(path, "topic", s.Topic, "group", "g")
		assert.NotContains(t, body, `method="post"`, path)
		assert.NotContains(t, body, "redisstream_form", path)
	}
	got := s.post(url.Values{"action": {"drop"}, "topic": {s.Topic}, "id": {id}, "confirm": {"1"}})
	assert.Equal(t, http.StatusForbidden, got.StatusCode)
	assert.Len(t, s.DeadLetters(), 2)
}

// Authorize tells reading from acting.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1)
	b.ReadAs("c", 1)
	user := ""
	s := open(b, func(c *adminui.Config) {
		c.Authorize = func(_ *http.Request, action adminui.Action) error {
			if user == "admin" || user == "reader" && action == adminui.Read {
				return nil
			}
			return fmt.Errorf("%q may not %s", user, action)
		}
	})
	group := address("group", "topic", s.Topic, "group", "g")
	got := s.send(s.request(http.MethodGet, group))
	assert.Equal(t, http.StatusForbidden, got.StatusCode)
	assert.NotContains(t, got.body, "may not", "the reason is for the log")
	assert.Positive(t, s.log.Count("may not"))
	assert.Equal(t, http.StatusForbidden, s.send(s.request(http.MethodGet, "app.css")).StatusCode)

	user = "reader"
	assert.NotContains(t, s.page("group", "topic", s.Topic, "group", "g"), `method="post"`)
	user = "admin"
	form := url.Values{"action": {"pause"}, "topic": {s.Topic}, "group": {"g"}, "redisstream_form": {s.token(s.page("group", "topic", s.Topic, "group", "g"))}}
	user = "reader"
	assert.Equal(t, http.StatusForbidden, s.post(form).StatusCode)
	user = "admin"
	assert.Equal(t, http.StatusOK, s.post(form).StatusCode)
}

// The page works at the root and under a prefix, with and without http.StripPrefix.
func TestPrefix(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(1)
	handler := open(b, nil).handler
	mux := http.NewServeMux()
	mux.Handle("/a/b/", handler)
	mux.Handle("/c/", http.StripPrefix("/c", handler))
	s := serve(b, mux, handler, nil)
	for _, prefix := range []string{"a/b/", "c/"} {
		assert.Contains(t, s.page(prefix+"topic", "topic", b.Topic), b.Topic, prefix)
		assert.Contains(t, s.page(prefix+"app.css"), "color-scheme", prefix)
	}
	assert.NotRegexp(t, `(href|src|action)="/`, s.page("c/topic", "topic", b.Topic), "all links are relative")
}

const hostile = "<script>canary=1</script>\"'><img src=x onerror=canary=1>{{.}}\x1b[31m\u202e\xff\x00"

// All bytes may be in names, and none of them becomes markup.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	topic, group, consumer := b.Topic+hostile, "group"+hostile, "consumer"+hostile
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	msg := message.NewMessage("uuid"+hostile, []byte(hostile))
	msg.Metadata.Set("key"+hostile, "value"+hostile)
	require.NoError(t, publisher.Publish(topic, msg))
	b.Do("XGROUP", "CREATE", topic, group, "0")
	b.Do("XREADGROUP", "GROUP", group, consumer, "STREAMS", topic, ">")
	entries, err := b.Client.XRange(t.Context(), topic, "-", "+").Result()
	require.NoError(t, err)
	s := open(b, nil)

	for _, path := range []string{"", "topic", "group", "pending", "messages", "message"} {
		body := s.page(path, "topic", topic, "group", group, "id", entries[0].ID, "q", "")
		assert.NotContains(t, body, "<script>canary", path)
		assert.NotContains(t, body, "<img", path)
		assert.NotContains(t, body, "\x1b", path)
		assert.NotContains(t, body, "\u202e", path)
		assert.NotContains(t, body, "\x00", path)
		assert.Contains(t, body, "&lt;script&gt;canary=1", path)
	}
	link := regexpFind(t, `href="(pending\?[^"]*consumer=[^"]*)"`, s.page("group", "topic", topic, "group", group))
	got := s.send(s.request(http.MethodGet, html.UnescapeString(link)))
	assert.Equal(t, http.StatusOK, got.StatusCode)
	assert.Contains(t, got.body, entries[0].ID, "the link leads to the consumer with this name")
	form := url.Values{"id": {entries[0].ID}, "action": {"skip"}}
	for _, field := range hidden.FindAllStringSubmatch(got.body, -1) {
		form.Add(field[1], strings.ToValidUTF8(unescape(field[2]), "?")) // as a browser does
	}
	s.follow(s.confirm(s.post(form)))
	left, err := b.Client.XPending(t.Context(), topic, group).Result()
	require.NoError(t, err)
	assert.Zero(t, left.Count, "forms keep all bytes of names")
}

// A payload is shown up to a bound, and downloaded whole, as a file that no browser opens.
func TestDownload(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	payload := []byte(strings.Repeat("<b>large</b>", 10<<20/12))
	require.NoError(t, publisher.Publish(b.Topic, message.NewMessage("u", payload)))
	entries, err := b.Client.XRange(t.Context(), b.Topic, "-", "+").Result()
	require.NoError(t, err)
	s := open(b, nil)

	body := s.page("message", "topic", b.Topic, "id", entries[0].ID)
	assert.Less(t, len(body), 512<<10)
	assert.Contains(t, body, "10.0 MiB")
	assert.Less(t, len(s.page("messages", "topic", b.Topic)), 16<<10)
	got := s.send(s.request(http.MethodGet, address("download", "topic", b.Topic, "id", entries[0].ID)))
	assert.Equal(t, "application/octet-stream", got.Header.Get("Content-Type"))
	assert.Equal(t, `attachment; filename="message-`+entries[0].ID+`.bin"`, got.Header.Get("Content-Disposition"))
	assert.Equal(t, string(payload), got.body)
}

// What the server says is for the log: a page has no address and no password.
func TestErrors_redacted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := fixture.NewOn(t, server)
	b.Publish(1)
	client := redis.NewClient(&redis.Options{Addr: b.Client.Options().Addr, Password: "hunter2", MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	s := open(b, func(c *adminui.Config) { c.Admin = newAdmin(b, client) })
	addr := b.Client.Options().Addr
	check := func(status int) {
		t.Helper()
		got := s.send(s.request(http.MethodGet, address("topic", "topic", b.Topic)))
		assert.Equal(t, status, got.StatusCode)
		for _, secret := range []string{addr, "hunter2", "goroutine", ".go:"} {
			assert.NotContains(t, got.body, secret)
		}
	}
	check(http.StatusOK) // this server ignores the password, or
	server.Kill()
	check(http.StatusBadGateway)
	assert.Positive(t, s.log.Count("The web page could not answer a request"))
}

// A server that hangs delays a page until its time-out.
func TestTimeout(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := fixture.NewOn(t, server)
	b.Publish(1)
	client := server.Client(t, func(o *redis.Options) { o.ContextTimeoutEnabled = true })
	s := open(b, func(c *adminui.Config) { c.Admin, c.Timeout = newAdmin(b, client), 2*time.Second })
	s.page("")
	server.Pause()
	defer server.Resume()
	begin := time.Now()
	got := s.send(s.request(http.MethodGet, ""))
	assert.Equal(t, http.StatusGatewayTimeout, got.StatusCode)
	assert.Less(t, time.Since(begin), fixture.Soon)
}
