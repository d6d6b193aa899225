package adminui_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/adminui"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// letters returns the form of the page of dead letters.
func (s *site) letters(action string, pairs ...string) url.Values {
	s.Helper()
	body := s.page("dead", append([]string{"topic", s.Topic}, pairs...)...)
	form := url.Values{"action": {action}, "topic": {s.Topic}, "redisstream_form": {s.token(body)}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// uuids returns the UUIDs of the dead letters.
func (s *site) uuids() (list []string) {
	s.Helper()
	for _, letter := range s.DeadLetters() {
		list = append(list, letter.Values[fixture.UUIDField].(string))
	}
	return list
}

// follow loads the page after an action.
func (s *site) follow(got answer) string {
	s.Helper()
	require.Equal(s, http.StatusSeeOther, got.StatusCode, got.body)
	next := s.send(s.request(http.MethodGet, got.Header.Get("Location")))
	require.Equal(s, http.StatusOK, next.StatusCode, next.body)
	return next.body
}

func TestDeadLetters_filter(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.RefuseMessages(6)
	s := open(b, nil)
	body := s.page("dead", "topic", s.Topic, "q", "customer=c-1")
	for i := range 6 {
		assert.Equal(t, i%2 == 1, strings.Contains(body, "<dd><bdi>m-"+strconv.Itoa(i)+"</bdi>"), i)
	}
	assert.Contains(t, body, "no coffee")
	assert.Contains(t, s.page("dead", "topic", s.Topic, "q", "tea"), "No dead letter matches")
	assert.Contains(t, s.page("dead", "topic", s.Topic, "q", "COFFEE m-3"), "1 row,")
}

func TestDeadLetters_pages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	for i := range 120 {
		b.AddDeadLetter(b.Topic, strconv.Itoa(i))
	}
	s := open(b, nil)
	next, seen := address("dead", "topic", s.Topic), 0
	for pages := 0; next != ""; pages++ {
		require.Less(t, pages, 4)
		got := s.send(s.request(http.MethodGet, next))
		seen += strings.Count(got.body, `name="id~"`)
		next = ""
		if link := nextPattern.FindStringSubmatch(got.body); link != nil {
			next = unescape(link[1])
		}
	}
	assert.Equal(t, 120, seen)
}

// The first form shows which, the second one does it, and only to those.
func TestDrop_selected(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.RefuseMessages(4)
	s := open(b, nil)
	form := s.letters("drop")
	form["id"] = []string{s.DeadLetters()[1].ID, s.DeadLetters()[2].ID}
	asked := s.post(form)
	assert.Contains(t, asked.body, "Drop 2 dead letters?")
	assert.Contains(t, asked.body, "<bdi>m-1</bdi>")
	assert.NotContains(t, asked.body, "<bdi>m-0</bdi>")
	assert.Len(t, s.DeadLetters(), 4, "nothing has happened yet")

	assert.Contains(t, s.follow(s.confirm(asked)), "2 dead letters were dropped.")
	assert.Equal(t, []string{"m-0", "m-3"}, s.uuids())
	assert.Contains(t, s.post(form).body, "nothing to do", "they are gone")
	assert.Positive(t, s.log.Count("The web page did an action"))
}

// An action for all that match leaves out what comes after the confirmation page.
func TestReplay_filtered(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.RefuseMessages(4)
	s := open(b, nil)
	form := s.letters("replay", "q", "customer=c-1")
	form.Set("all", "1")
	asked := s.post(form)
	assert.Contains(t, asked.body, "Replay 2 dead letters?")
	late := b.DeadLetters()[1]
	late.Values["again"] = "1"
	values := make([]any, 0, 2*len(late.Values))
	for field, value := range late.Values {
		values = append(values, field, value)
	}
	b.Do(append([]any{"XADD", redisstream.DeadLetterTopic(b.Topic), "*"}, values...)...)

	before := s.Len()
	assert.Contains(t, s.follow(s.confirm(asked)), "2 dead letters were replayed to all groups of the topic.")
	assert.Equal(t, []string{"m-0", "m-2", "m-1"}, s.uuids())
	assert.Equal(t, before+2, s.Len())
}

func TestRetry(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.RefuseMessages(3)
	s := open(b, nil)
	form := s.letters("retry")
	form.Set("all", "1")
	s.follow(s.confirm(s.post(form)))
	assert.Empty(t, s.DeadLetters())
	body := s.page("parked", "topic", s.Topic, "group", "g")
	assert.Contains(t, body, "<bdi>m-0</bdi>")
	_, messages := b.Subscribe(fixture.FastClaimConfig())
	assert.ElementsMatch(t, []string{"m-0", "m-1", "m-2"}, fixture.ReceiveAll(t, messages, 3))
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	_, messages := b.Subscribe(fixture.GroupConfig())
	s := open(b, func(c *adminui.Config) { c.User = func(*http.Request) string { return "ann" } })
	group := func() string { return s.page("group", "topic", s.Topic, "group", "g") }
	form := func(action string) url.Values {
		return url.Values{"action": {action}, "topic": {s.Topic}, "group": {"g"}, "redisstream_form": {s.token(group())}, "reason": {"the bank is down"}}
	}
	b.Publish(1)
	fixture.ReceiveAll(t, messages, 1)

	asked := s.post(form("pause"))
	assert.Contains(t, asked.body, "Pause this group?")
	assert.NotContains(t, group(), "Paused since")
	assert.Contains(t, s.follow(s.confirm(asked)), "The group is paused.")
	assert.Contains(t, group(), "by <bdi>ann</bdi>: <bdi>the bank is down</bdi>")
	assert.Contains(t, s.page("topic", "topic", s.Topic), "paused")

	assert.Contains(t, s.follow(s.confirm(s.post(form("resume")))), "The group is resumed.")
	assert.NotContains(t, group(), "Paused since")
	b.Publish(1)
	fixture.ReceiveAll(t, messages, 1)
}

func TestSkip(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(2)
	entries := b.ReadAs("c", 2)
	s := open(b, nil)
	body := s.page("pending", "topic", s.Topic, "group", "g")
	assert.Contains(t, body, entries[1].ID)
	form := url.Values{
		"action": {"skip"}, "topic": {s.Topic}, "group": {"g"}, "id": {entries[0].ID}, "dead-letter": {"1"}, "reason": {"poison"},
		"redisstream_form": {s.token(body)},
	}
	asked := s.post(form)
	assert.Contains(t, asked.body, "Each is kept as a dead letter.")
	assert.EqualValues(t, 2, b.Pending())
	assert.Contains(t, s.follow(s.confirm(asked)), "1 entry was skipped.")
	assert.EqualValues(t, 1, b.Pending())
	require.Len(t, s.DeadLetters(), 1)
	assert.Contains(t, s.page("dead", "topic", s.Topic), "poison")
}

func TestDelayed(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	list := fixture.Numbered("later", 3)
	for i, msg := range list {
		delay.Message(msg, delay.For(time.Duration(i+1)*time.Hour))
	}
	require.NoError(t, publisher.Publish(b.Topic, list...))
	s := open(b, nil)
	ids := func() (body string, ids []string) {
		body = s.page("delayed", "topic", s.Topic)
		for _, found := range idPattern.FindAllStringSubmatch(body, -1) {
			id, err := url.QueryUnescape(unescape(found[1]))
			require.NoError(t, err)
			ids = append(ids, id)
		}
		return body, ids
	}
	body, all := ids()
	require.Len(t, all, 3)
	act := func(action, id string) string {
		form := url.Values{"action": {action}, "topic": {s.Topic}, "id": {id}, "redisstream_form": {s.token(body)}}
		return s.follow(s.confirm(s.post(form)))
	}
	assert.Contains(t, act("drop-delayed", all[0]), "1 delayed message was dropped.")
	assert.Contains(t, act("deliver-delayed", all[1]), "1 delayed message was moved to the topic.")
	_, left := ids()
	assert.Equal(t, all[2:], left)
	assert.Equal(t, []string{"later-1"}, fixture.StoredUUIDs(t, b.Client, b.Topic))
}

func TestMessages_pages(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(120)
	entries, err := b.Client.XRange(t.Context(), b.Topic, "-", "+").Result()
	require.NoError(t, err)
	s := open(b, nil)
	older := s.page("messages", "topic", s.Topic)
	assert.Contains(t, older, ">"+entries[119].ID+"<")
	assert.NotContains(t, older, "Newer")
	older = s.send(s.request(http.MethodGet, unescape(nextPattern.FindStringSubmatch(older)[1]))).body
	assert.Contains(t, older, ">"+entries[69].ID+"<")
	oldest := s.send(s.request(http.MethodGet, unescape(nextPattern.FindStringSubmatch(older)[1]))).body
	assert.Contains(t, oldest, ">"+entries[0].ID+"<")
	assert.NotContains(t, oldest, "Older")
	back := s.send(s.request(http.MethodGet, unescape(prevPattern.FindStringSubmatch(oldest)[1]))).body
	assert.Contains(t, back, ">"+entries[69].ID+"<")
	assert.Contains(t, back, ">"+entries[20].ID+"<")

	assert.Contains(t, s.page("messages", "topic", s.Topic, "at", entries[10].ID), "11 rows")
	assert.Contains(t, s.page("messages", "topic", s.Topic, "at", "1h"), "no entry at that place")
	assert.Equal(t, http.StatusBadRequest, s.send(s.request(http.MethodGet, address("messages", "topic", s.Topic, "at", "noon"))).StatusCode)
}

func TestFind(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.RefuseMessages(2)
	s := open(b, nil)
	body := s.page("find", "topic", s.Topic, "uuid", "m-1")
	assert.Contains(t, body, "dead letter")
	assert.Contains(t, body, "group=g")
	assert.Contains(t, s.page("find", "topic", s.Topic, "uuid", "nobody"), "No message of the topic has this UUID")
}

// Charts appear after someone looked, and Close ends the goroutine that measures (redistest.Main
// finds it otherwise).
func TestCharts(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Publish(3)
	b.ReadAs("c", 1)
	s := open(b, func(c *adminui.Config) { c.SampleInterval = 10 * time.Millisecond })
	s.Eventually("there is a chart", func() bool {
		return strings.Contains(s.page("group", "topic", s.Topic, "group", "g"), `aria-label="Lag over the last`)
	})
	assert.Contains(t, s.page("group", "topic", s.Topic, "group", "g"), "lag: now 2, between")
	require.NoError(t, s.handler.Close())
	assert.NotContains(t, s.page("group", "topic", s.Topic, "group", "g"), "polyline")
	require.NoError(t, s.handler.Close())
}

func TestTopics_search(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client})
	for _, name := range []string{"[a*]", "b"} {
		require.NoError(t, publisher.Publish(b.Topic+name, message.NewMessage("u", nil)))
	}
	s := open(b, nil)
	body := s.page("", "q", b.Topic+"[a*")
	assert.Contains(t, body, b.Topic+"[a*]")
	assert.NotContains(t, body, b.Topic+"b")
	assert.Contains(t, s.page("", "q", "no such topic"), "No topic has that in its name.")
}
