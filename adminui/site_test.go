package adminui_test

import (
	"bytes"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/adminui"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// site is a running web page, with a browser that keeps cookies and follows no redirect.
type site struct {
	*fixture.Bench

	browser *http.Client
	url     string
	log     *redistest.Log
	handler *adminui.Handler
}

// open serves the page of a Bench. change may be nil.
func open(b *fixture.Bench, change func(*adminui.Config)) *site {
	b.Helper()
	config, log := adminui.Config{Admin: newAdmin(b, b.Client), Actions: true}, &redistest.Log{}
	config.Logger = log.Logger()
	if change != nil {
		change(&config)
	}
	handler, err := adminui.New(config)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, handler.Close()) })
	return serve(b, handler, handler, log)
}

// serve serves a handler that wraps the page.
func serve(b *fixture.Bench, root http.Handler, handler *adminui.Handler, log *redistest.Log) *site {
	b.Helper()
	server := httptest.NewServer(root)
	b.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(b, err)
	browser := server.Client()
	browser.Jar = jar
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &site{Bench: b, browser: browser, url: server.URL + "/", log: log, handler: handler}
}

func newAdmin(b *fixture.Bench, client redis.UniversalClient) *admin.Admin {
	b.Helper()
	inspector, err := admin.New(admin.Config{Client: client})
	require.NoError(b, err)
	return inspector
}

// answer is an answer with its body.
type answer struct {
	*http.Response

	body string
}

// send sends a request.
func (s *site) send(request *http.Request) answer {
	s.Helper()
	response, err := s.browser.Do(request)
	require.NoError(s, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(s, err)
	return answer{response, string(body)}
}

// request returns a request without a body.
func (s *site) request(method, to string) *http.Request {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, s.url+to, nil)
	require.NoError(s, err)
	return request
}

// page returns the body of a page that must be there.
func (s *site) page(path string, pairs ...string) string {
	s.Helper()
	got := s.send(s.request(http.MethodGet, address(path, pairs...)))
	require.Equal(s, http.StatusOK, got.StatusCode, got.body)
	return got.body
}

// address returns a path with a query.
func address(path string, pairs ...string) string {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		query.Add(pairs[i], pairs[i+1])
	}
	return path + "?" + query.Encode()
}

var tokenPattern = regexp.MustCompile(`name="redisstream_form" value="(\w+)"`)

// token returns the token of a page that has a form.
func (s *site) token(body string) string {
	s.Helper()
	found := tokenPattern.FindStringSubmatch(body)
	require.NotNil(s, found, "the page has a form: %s", body)
	return found[1]
}

// post sends a form as the page's own.
func (s *site) post(form url.Values) answer {
	s.Helper()
	return s.send(s.form(form, "same-origin"))
}

// form returns a request with a form that a browser says to come from this kind of site.
func (s *site) form(form url.Values, from string) *http.Request {
	s.Helper()
	request := s.request(http.MethodPost, "act")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Sec-Fetch-Site", from)
	body := []byte(form.Encode())
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return request
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// confirm sends the form of a confirmation page.
func (s *site) confirm(asked answer) answer {
	s.Helper()
	require.Equal(s, http.StatusOK, asked.StatusCode, asked.body)
	form := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(asked.body, -1) {
		form.Add(field[1], html.UnescapeString(field[2]))
	}
	require.Equal(s, "1", form.Get("confirm"), asked.body)
	return s.post(form)
}

// regexpFind returns the first group of a pattern.
func regexpFind(t *testing.T, pattern, text string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.NotNil(t, found, "%s in %s", pattern, text)
	return found[1]
}

var (
	nextPattern = regexp.MustCompile(`href="([^"]*)" rel="next"`)
	prevPattern = regexp.MustCompile(`href="([^"]*)" rel="prev"`)
	idPattern   = regexp.MustCompile(`name="id~" value="([^"]*)"`)
)

func unescape(s string) string { return html.UnescapeString(s) }
