// Package browsertest tests the web page in Chromium. It is a module of its own: nobody who imports
// the library downloads what drives a browser.
package browsertest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/adminui"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// tab is a browser with one tab, and the web page of a Bench. It fails the test if a page opens a
// dialog, writes an error to the console or fetches something from elsewhere.
type tab struct {
	*fixture.Bench

	ctx  context.Context //nolint:containedctx // it is the tab
	site string          // the address of the web page, with a slash

	mu       sync.Mutex
	refused  bool     // the test expects answers that are errors
	problems []string // what a page must not do
}

// open starts a browser. change may be nil.
func open(b *fixture.Bench, change func(*adminui.Config)) *tab {
	b.Helper()
	inspector, err := admin.New(admin.Config{Client: b.Client})
	require.NoError(b, err)
	config := adminui.Config{Admin: inspector, Actions: true, Title: "Shop"}
	if change != nil {
		change(&config)
	}
	handler, err := adminui.New(config)
	require.NoError(b, err)
	mux := http.NewServeMux()
	mux.Handle("/queues/", handler)
	server := httptest.NewServer(mux)
	b.Cleanup(func() {
		server.Close()
		assert.NoError(b, handler.Close())
	})
	t := &tab{Bench: b, site: server.URL + "/queues/"}
	t.start()
	return t
}

func (t *tab) start() {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		chromium, err = exec.LookPath("google-chrome") // what GitHub's machines have
	}
	require.NoError(t, err, "apt-get install chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(allocator, chromedp.WithListener(t.watch))
	t.Cleanup(leave)
	timed, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	t.ctx = timed
	t.do(chromedp.EmulateViewport(1280, 900))
	t.Cleanup(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		assert.Empty(t, t.problems)
	})
}

// watch records what a page must not do.
func (t *tab) watch(event any) {
	problem := ""
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		problem = "a dialog: " + e.Message
	case *runtime.EventExceptionThrown:
		problem = "an exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		problem = "the console was called"
	case *log.EventEntryAdded:
		if t.refused && e.Entry.Source == log.EntrySourceNetwork {
			return
		}
		problem = "the console has: " + e.Entry.Text + " " + e.Entry.URL
	case *network.EventRequestWillBeSent:
		if address := e.Request.URL; !strings.HasPrefix(address, t.site) && !strings.HasPrefix(address, "data:") && address != "about:blank" && !t.refused {
			problem = "a request to " + address
		}
	}
	if problem != "" {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.problems = append(t.problems, problem)
	}
}

func (t *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	require.NoError(t, chromedp.Do(t.ctx, steps...))
}

// visit loads a page. Names and values of its query alternate.
func (t *tab) visit(path string, pairs ...string) {
	t.Helper()
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	t.do(chromedp.Navigate(t.site + path + "?" + query.Encode()))
}

// js returns the value of an expression.
func js[T any](t *tab, expression string) T {
	t.Helper()
	value, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err, expression)
	return value
}

// until waits until an expression is true, also across pages.
func (t *tab) until(expression string) {
	t.Helper()
	deadline := time.Now().Add(fixture.Soon)
	for {
		is, err := chromedp.Run(t.ctx, chromedp.Evaluate[bool](expression))
		if err == nil && is {
			return
		}
		if time.Now().After(deadline) {
			text, _ := chromedp.Run(t.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
			require.Fail(t, "never: "+expression, "%v, on the page %.2000s", err, text)
		}
	}
}

// shows waits until the page has a text.
func (t *tab) shows(text string) {
	t.Helper()
	t.until("document.readyState === 'complete' && document.body.innerText.includes(" + quote(text) + ")")
}

// click clicks the first button, link or label with a text.
func (t *tab) click(text string) {
	t.Helper()
	found := js[bool](t, `(() => { const all = ['button', 'a', 'label'].flatMap((name) => [...document.querySelectorAll(name)]);
		document.querySelectorAll('[data-clicked]').forEach((e) => delete e.dataset.clicked);
		const it = all.find((e) => e.innerText.trim() === `+quote(text)+`); if (it) it.dataset.clicked = '1'; return !!it; })()`)
	require.True(t, found, "the page has %s", text)
	t.do(chromedp.Click(chromedp.CSS("[data-clicked]")))
}

// press presses keys.
func (t *tab) press(keys string) {
	t.Helper()
	t.do(chromedp.KeyEvent(keys))
}

// media sets a feature of the screen.
func (t *tab) media(name, value string) {
	t.Helper()
	_, err := chromedp.Call(t.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: name, Value: value}},
	})
	require.NoError(t, err)
}

func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}
