package browsertest

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/adminui"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// From the list of topics to the dead letters of one customer: filter, replay those, drop another one.
func TestDeadLetters(t *testing.T) {
	b := fixture.New(t)
	b.RefuseMessages(6)
	tab := open(b, nil)
	tab.visit("", "q", b.Topic)
	tab.click(b.Topic)
	tab.shows("Consumer groups")
	tab.click("g")
	tab.shows("Pending entries by age")
	tab.click("Dead letters")
	tab.shows("6 rows")

	tab.do(chromedp.SendKeys(chromedp.CSS("input[name=q]"), "customer=c-1"))
	tab.click("Filter")
	tab.shows("3 rows")
	tab.click("all that match the filter, on all pages")
	tab.click("Replay to all groups…")
	tab.shows("Replay 3 dead letters?")
	for i := range 6 {
		assert.Equal(t, i%2 == 1, js[bool](tab, fmt.Sprintf("document.body.innerText.includes('m-%d')", i)), i)
	}
	assert.Len(t, uuids(b), 6, "nothing has happened yet")
	tab.do(chromedp.Click(chromedp.CSS("#confirm")))
	tab.shows("3 dead letters were replayed to all groups of the topic.")
	assert.Equal(t, []string{"m-0", "m-2", "m-4"}, uuids(b))
	assert.EqualValues(t, 9, b.Len(), "three came again")

	tab.visit("dead", "topic", b.Topic)
	tab.do(chromedp.Click(chromedp.CSS(`input[name="id~"][value="` + b.DeadLetters()[1].ID + `"]`)))
	tab.click("Drop…")
	tab.shows("Drop 1 dead letter?")
	tab.click("Cancel")
	tab.shows("3 rows")
	assert.Len(t, uuids(b), 3, "cancelled")
	tab.do(chromedp.Click(chromedp.CSS(`input[name="id~"][value="` + b.DeadLetters()[1].ID + `"]`)))
	tab.click("Drop…")
	tab.shows("Drop 1 dead letter?")
	tab.do(chromedp.Click(chromedp.CSS("#confirm")))
	tab.shows("1 dead letter was dropped.")
	assert.Equal(t, []string{"m-0", "m-4"}, uuids(b))
}

func TestPause(t *testing.T) {
	b := fixture.New(t)
	b.Subscribe(fixture.GroupConfig())
	tab := open(b, nil)
	inspector, err := admin.New(admin.Config{Client: b.Client})
	require.NoError(t, err)
	paused := func() bool {
		group, err := inspector.Group(t.Context(), b.Topic, "g")
		require.NoError(t, err)
		return group.Paused != nil
	}
	b.Publish(1)
	tab.visit("group", "topic", b.Topic, "group", "g")
	tab.do(chromedp.SendKeys(chromedp.CSS("input[name=reason]"), "the bank is down"))
	tab.click("Pause…")
	tab.shows("Pause this group?")
	assert.False(t, paused())
	tab.do(chromedp.Click(chromedp.CSS("#confirm")))
	tab.shows("The group is paused.")
	tab.shows("the bank is down")
	assert.True(t, paused())
	tab.click("Resume…")
	tab.shows("Resume this group?")
	tab.do(chromedp.Click(chromedp.CSS("#confirm")))
	tab.shows("The group is resumed.")
	assert.False(t, paused())
}

// focusOn presses Tab until an expression about the element with the focus, e, is true. Each element on
// the way shows that it has the focus.
func (t *tab) focusOn(expression string) {
	t.Helper()
	for range 100 {
		t.press(kb.Tab)
		if js[bool](t, "getComputedStyle(document.activeElement).outlineStyle === 'none'") {
			t.Errorf("no visible focus: %s", js[string](t, "document.activeElement.outerHTML"))
		}
		if js[bool](t, "((e) => "+expression+")(document.activeElement)") {
			return
		}
	}
	require.Fail(t, "Tab never reaches it", expression)
}

// All of it works without a mouse.
func TestKeyboard(t *testing.T) {
	b := fixture.New(t)
	b.RefuseMessages(3)
	tab := open(b, nil)
	tab.visit("dead", "topic", b.Topic)
	tab.press(kb.Tab)
	assert.Equal(t, "skip", js[string](tab, "document.activeElement.className"), "the first stop skips the navigation")
	tab.press(kb.Enter)
	tab.until("document.activeElement.id === 'main'")
	tab.focusOn(`e.name === "q"`)
	tab.press("m-1" + kb.Enter)
	tab.shows("1 row,")
	tab.focusOn(`e.name === "id~"`)
	tab.press(" ")
	tab.focusOn(`e.value === "drop"`)
	tab.press(kb.Enter)
	tab.shows("Drop 1 dead letter?")
	assert.Len(t, uuids(b), 3)
	tab.focusOn(`e.id === "confirm"`)
	tab.press(kb.Enter)
	tab.shows("1 dead letter was dropped.")
	assert.Equal(t, []string{"m-0", "m-2"}, uuids(b))
}

// Without JavaScript everything works.
func TestNoJavaScript(t *testing.T) {
	b := fixture.New(t)
	b.RefuseMessages(2)
	tab := open(b, nil)
	_, err := chromedp.Call(tab.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)
	tab.visit("dead", "topic", b.Topic)
	tab.do(chromedp.Click(chromedp.CSS(`input[name="id~"]`)), chromedp.Click(chromedp.CSS("button[value=drop]")))
	tab.do(chromedp.Click(chromedp.CSS("#confirm")), chromedp.WaitVisible(chromedp.CSS(".notice")))
	assert.Equal(t, []string{"m-1"}, uuids(b))
}

// Nothing of what publishers and consumers write runs, is fetched or leaves its place.
func TestHostile(t *testing.T) {
	b := fixture.New(t)
	scene := newHostileScene(b)
	tab := open(b, nil)
	check := func(path string) {
		t.Helper()
		for _, details := range []string{"false", "true"} {
			js[bool](tab, "document.querySelectorAll('details').forEach((d) => { d.open = "+details+" }), true")
		}
		assert.Equal(t, "undefined", js[string](tab, "typeof window.canary"), path)
		assert.Equal(t, 1, js[int](tab, "document.scripts.length"), path)
		assert.Zero(t, js[int](tab, "document.querySelectorAll('img, iframe, object, base, meta[http-equiv], main link, [onerror], [onload], [onfocus]').length"), path)
		assert.Empty(t, js[string](tab, "[...document.links].map((a) => a.href).find((h) => !h.startsWith("+quote(tab.site)+")) ?? ''"), path)
		assert.Empty(t, js[string](tab, "[...document.forms].map((f) => new URL(f.getAttribute('action'), location).href).find((h) => !h.startsWith("+quote(tab.site)+")) ?? ''"), path)
		assert.False(t, js[bool](tab, `/[\u0000-\u0008\u000b-\u001f\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText)`), path)
		assert.True(t, js[bool](tab, "document.body.innerText.includes('canary')"), "%s shows what was written", path)
	}
	scene.each(t, tab, func(path string) {
		if path != "parked" {
			check(path)
		}
	})

	tab.visit("dead", "topic", scene.topic)
	tab.do(chromedp.Click(chromedp.CSS(`input[name="id~"]`)), chromedp.Click(chromedp.CSS("button[value=drop]")))
	tab.shows("Drop 1 dead letter?")
	check("confirm")
	tab.do(chromedp.Click(chromedp.CSS("#confirm")))
	tab.shows("1 dead letter was dropped.")
	check("dead, after an action")
}

// A form of another page does nothing, whether it is of the same site (another port) or not.
func TestCrossSite(t *testing.T) {
	b := fixture.New(t)
	b.RefuseMessages(1)
	tab := open(b, nil)
	tab.visit("dead", "topic", b.Topic) // the browser has the cookie
	token := js[string](tab, "document.querySelector('[name=redisstream_form]').value")
	tab.mu.Lock()
	tab.refused = true
	tab.mu.Unlock()
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form id=f method=post action="%sact"><input name=action value=drop><input name=topic value="%s"><input name="id~" value="%s">
			<input name=confirm value=1><input name=redisstream_form value="%s"></form><script>f.submit()</script>`, tab.site, b.Topic, b.DeadLetters()[0].ID, token)
	}))
	defer foreign.Close()
	for _, origin := range []string{foreign.URL, strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1)} {
		_ = chromedp.Do(tab.ctx, chromedp.Navigate(origin)) // the form takes over while the page loads
		tab.shows("The form did not come from this page")
		assert.Equal(t, "Forbidden", js[string](tab, "document.querySelector('h1').innerText"))
		assert.Len(t, uuids(b), 1)
	}
}

// The cookie is neither readable for scripts nor sent along by other sites.
func TestCookie(t *testing.T) {
	b := fixture.New(t)
	b.Publish(1)
	tab := open(b, nil)
	tab.visit("topic", "topic", b.Topic)
	assert.Empty(t, js[string](tab, "document.cookie"))
}

// On a phone no page is wider than the screen, whatever is on it.
func TestPhone(t *testing.T) {
	b := fixture.New(t)
	scene := newHostileScene(b)
	tab := open(b, nil)
	tab.do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
	scene.each(t, tab, func(path string) {
		assert.LessOrEqual(t, js[int](tab, "document.documentElement.scrollWidth"), 360, path)
		assert.Equal(t, "en", js[string](tab, "document.documentElement.lang"))
		small := js[string](tab, `[...document.querySelectorAll('button')].filter((e) => e.getBoundingClientRect().height < 40).map((e) => e.innerText).join()`)
		assert.Empty(t, small, "%s has buttons that are too small for a finger", path)
	})
}

// contrast returns the texts whose contrast with their background is below 4.5 (WCAG 2, AA).
const contrast = `(() => {
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return c.startsWith('color(') ? [m[0]*255, m[1]*255, m[2]*255, m[3] ?? 1] : [m[0], m[1], m[2], m[3] ?? 1]; };
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126*r + .7152*g + .0722*b; };
	const bad = new Set();
	for (const e of document.querySelectorAll('body *')) {
		const style = getComputedStyle(e);
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
		let back = e, color;
		while (back && (color = parse(getComputedStyle(back).backgroundColor))[3] < 1) back = back.parentElement;
		const a = light(parse(style.color)), b = light(color ?? [255, 255, 255]);
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + e.innerText.slice(0, 30) + ' ' + ratio.toFixed(2));
	}
	return [...bad];
})()`

// Texts have enough contrast, light and dark, and each field has a label.
func TestReadable(t *testing.T) {
	b := fixture.New(t)
	b.RefuseMessages(2)
	b.Publish(1)
	tab := open(b, nil)
	for _, scheme := range []string{"light", "dark"} {
		tab.media("prefers-color-scheme", scheme)
		for _, path := range []string{"", "topic", "group", "pending", "messages", "dead", "delayed", "find"} {
			tab.visit(path, "topic", b.Topic, "group", "g")
			assert.Empty(t, js[[]string](tab, contrast), "%s, %s", path, scheme)
			assert.Zero(t, js[int](tab, `[...document.querySelectorAll('input:not([type=hidden]), select')].filter((e) => !e.labels.length && !e.ariaLabel).length`), path)
			assert.Equal(t, 1, js[int](tab, "document.querySelectorAll('h1').length"), path)
		}
	}
	dark := js[string](tab, "getComputedStyle(document.body).backgroundColor")
	tab.media("prefers-color-scheme", "light")
	assert.NotEqual(t, dark, js[string](tab, "getComputedStyle(document.body).backgroundColor"))
}

// With JavaScript the numbers follow without a reload, and the box stops that.
func TestRefresh(t *testing.T) {
	b := fixture.New(t)
	b.Publish(1)
	tab := open(b, nil)
	tab.visit("topic", "topic", b.Topic)
	js[int](tab, "window.same = 1")
	b.Publish(6)
	tab.until("document.querySelector('#facts dd').innerText === '7'")
	assert.Equal(t, 1, js[int](tab, "window.same"), "the page was not loaded again")
	tab.click("refresh")
	assert.Equal(t, "off", js[string](tab, "sessionStorage.getItem('live')"))
}

func TestReadOnly(t *testing.T) {
	b := fixture.New(t)
	b.RefuseMessages(1)
	tab := open(b, func(c *adminui.Config) { c.Actions = false })
	for _, path := range []string{"", "topic", "group", "pending", "parked", "messages", "dead", "delayed"} {
		tab.visit(path, "topic", b.Topic, "group", "g")
		assert.Zero(t, js[int](tab, `document.querySelectorAll('form[method=post], [type=checkbox][name="id~"]').length`), path)
		tab.shows("read-only")
	}
	tab.mu.Lock()
	tab.refused = true
	tab.mu.Unlock()
	js[bool](tab, `(() => { const f = document.createElement('form'); f.method = 'post'; f.action = 'act'; document.body.append(f); f.submit(); return true; })()`)
	tab.shows("This page is read-only")
	assert.Len(t, uuids(b), 1)
}

// picture is the screenshot of the README.
const picture = "../../docs/images/web-page.png"

func TestPicture(t *testing.T) {
	stored, err := os.ReadFile(picture)
	if *update {
		stored, err = takePicture(t), nil
		require.NoError(t, os.WriteFile(picture, stored, 0o600))
	}
	require.NoError(t, err)
	assert.Less(t, len(stored), 200<<10)
	decoded, err := png.DecodeConfig(bytes.NewReader(stored))
	require.NoError(t, err)
	assert.Equal(t, 1280, decoded.Width)
}
