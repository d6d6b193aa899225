package adminui_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The page of a group has a table of partitions with their owners, and entries link to their partition.
func TestPartitions(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	s := open(b, nil)
	publisher := fixture.OpenPublisher(t, redisstream.PublisherConfig{Client: b.Client, Partitions: 3})
	require.NoError(t, publisher.Publish(b.Topic, fixture.Numbered("m", 3)...))
	subscriber, messages := b.Subscribe(redisstream.SubscriberConfig{
		Client: b.Client, ConsumerGroup: "g", Partitions: 3, ClaimMinIdle: 2 * time.Second, CloseTimeout: 10 * time.Millisecond,
	})
	held := fixture.Receive(t, messages)
	name := fixture.EntryOf(t, held).Stream
	owner := b.Client.HGet(t.Context(), redisstream.OwnerKey(name, "g"), "consumer").Val()
	require.NotEmpty(t, owner)
	assert.Contains(t, s.page("topic", "topic", b.Topic), "<dt>Partitions</dt><dd>3</dd>")
	page := s.page("group", "topic", b.Topic, "group", "g")
	assert.Contains(t, page, "Partitions of the topic, for this group")
	assert.Contains(t, page, owner)
	assert.Contains(t, s.page("pending", "topic", b.Topic, "group", "g"), "%2f3%3a%7b")
	held.Nack()
	require.NoError(t, subscriber.Close())
}

// Dead letters of two partitions may have the same ID. One is never taken for the other, and none is left out.
func TestPartitions_deadLettersWithTheSameID(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	b.Do("SET", b.Topic, "partitions=2")
	names := redisstream.PartitionTopics(b.Topic, 2)
	for i, name := range names {
		for id := range 75 {
			b.AddDeadLetterAs(name, fmt.Sprintf("%d-0", id+1+i), fmt.Sprintf("letter %d/%d", i, id+1+i)) // a page ends between two
		}
	}
	s := open(b, nil)
	assert.Len(t, s.allPages(keyPattern, "dead"), 150)

	form := s.letters("drop")
	form["id~"] = []string{url.QueryEscape("50-0 " + names[1]), url.QueryEscape("51-0 " + names[0])}
	asked := s.post(form)
	assert.Contains(t, asked.body, "Drop 2 dead letters?")
	assert.Contains(t, s.follow(s.confirm(asked)), "2 dead letters were dropped.")
	left := func(partition int, id string) int {
		return len(b.Client.XRange(t.Context(), redisstream.DeadLetterTopic(names[partition]), id, id).Val())
	}
	assert.Equal(t, []int{1, 0, 0, 1}, []int{left(0, "50-0"), left(1, "50-0"), left(0, "51-0"), left(1, "51-0")})

	// The payload is that of the partition.
	page := s.page("dead", "topic", b.Topic, "q", "letter 1/7")
	link := regexp.MustCompile(`href="(download[^"]*)"`).FindStringSubmatch(page)
	require.NotNil(t, link, page)
	assert.Equal(t, http.StatusOK, s.send(s.request(http.MethodGet, unescape(link[1]))).StatusCode)
}

// Entries of two partitions may have the same ID: all are listed, and the page of one asks for its partition.
func TestPartitions_entriesWithTheSameID(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	s := open(b, nil)
	b.Do("SET", b.Topic, "partitions=2")
	for i, name := range redisstream.PartitionTopics(b.Topic, 2) {
		for id := range 75 {
			b.Do("XADD", name, fmt.Sprintf("%d-0", id+1+i), "data", "x")
		}
	}
	assert.Len(t, s.allPages(regexp.MustCompile(`href="(message\?[^"]*)"`), "messages"), 150)
	got := s.send(s.request(http.MethodGet, address("message", "topic", b.Topic, "id", "5-0")))
	assert.Equal(t, http.StatusConflict, got.StatusCode)
	assert.Contains(t, got.body, "Several partitions have an entry with that ID")
}

var keyPattern = regexp.MustCompile(`name="id~" value="([^"]*)"`)

// allPages returns the different texts that a pattern finds on a list and the pages that follow it.
func (s *site) allPages(pattern *regexp.Regexp, path string) map[string]bool {
	s.Helper()
	found := make(map[string]bool)
	for next := address(path, "topic", s.Topic); next != ""; {
		body := s.send(s.request(http.MethodGet, next)).body
		for _, text := range pattern.FindAllStringSubmatch(body, -1) {
			found[text[1]] = true
		}
		next = ""
		if link := nextPattern.FindStringSubmatch(body); link != nil {
			next = unescape(link[1])
		}
	}
	return found
}
