package adminui

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/millrace/redisstream/admin"
)

// filter selects dead letters, delayed messages and parked ones by their text.
type filter struct {
	Text  string // words that must all be in it, in any case; key=value: it has this metadata
	Group string // the group that dead-lettered it; empty: any
}

// matches tells whether a message, or one of the texts about it, has all words of the filter.
func (f filter) matches(message admin.Message, about ...string) bool {
	for word := range strings.FieldsSeq(f.Text) {
		if !hasMetadata(message, word) && !contains(message, about, strings.ToLower(word)) {
			return false
		}
	}
	return true
}

func (f filter) letter(letter admin.DeadLetter) bool {
	return (f.Group == "" || f.Group == letter.Group) &&
		f.matches(letter.Message, letter.Reason, letter.Error, letter.Group, letter.EntryID, letter.Consumer)
}

func (f filter) delayed(delayed admin.Delayed) bool { return f.matches(delayed.Message, delayed.ID) }

func hasMetadata(message admin.Message, word string) bool {
	key, value, is := strings.Cut(word, "=")
	has, found := message.Metadata[key]
	return is && found && has == value
}

// contains tells whether a lower-case text is somewhere in a message. Only the beginning of a large payload
// is searched.
func contains(message admin.Message, about []string, text string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if slices.ContainsFunc(about, has) {
		return true
	}
	for key, value := range message.Metadata {
		if has(key) || has(value) {
			return true
		}
	}
	return has(message.UUID) || has(string(message.Payload[:min(len(message.Payload), searchedBytes)]))
}

const searchedBytes = 1 << 20

// lettersBody is the body of the page of dead letters.
type lettersBody struct {
	Filter  filter
	Total   int64 // dead letters, also those that the filter leaves out
	Groups  []string
	Letters []letterRow
	Late    bool // the time was over before the page was full
	First   string
	Next    string
}

// letterRow is a dead letter of the page.
type letterRow struct {
	admin.DeadLetter

	Key      string // letterKey
	Content  content
	Metadata []pair
	Download string
}

// deadLetters lists the dead letters of a topic that a filter selects, the oldest first.
func (h *Handler) deadLetters(r *request) (page, error) {
	topic, after := r.param("topic"), r.param("after")
	body := lettersBody{Filter: filter{r.param("q"), r.param("of")}}
	if after != "" && !isID(after) {
		return page{}, admin.ErrInvalidID
	}
	about, err := h.config.Admin.Topic(r.ctx, topic)
	if err != nil && !errors.Is(err, admin.ErrNoTopic) { // letters outlive their topic
		return page{}, err
	}
	body.Total = about.DeadLetters
	groups, err := h.config.Admin.Groups(r.ctx, topic)
	if err != nil && !errors.Is(err, admin.ErrNoTopic) {
		return page{}, err
	}
	for _, group := range groups {
		body.Groups = append(body.Groups, group.Name)
	}
	last, more, err := h.searchLetters(r.ctx, &body, topic, after)
	if err != nil {
		return page{}, err
	}
	if more {
		body.Next = link("dead", "topic", topic, "q", body.Filter.Text, "of", body.Filter.Group, "after", last)
	}
	if after != "" {
		body.First = link("dead", "topic", topic, "q", body.Filter.Text, "of", body.Filter.Group)
	}
	return page{Title: "Dead letters", Topic: topic, view: "dead", Body: body}, nil
}

// searchLetters adds the dead letters after an ID that the filter selects, until the page is full or half of the
// time is over. It returns the last one that it looked at.
func (h *Handler) searchLetters(ctx context.Context, body *lettersBody, topic, after string) (last string, more bool, err error) {
	until := half(ctx)
	for letter, err := range h.config.Admin.DeadLetters(ctx, topic) {
		switch {
		case err != nil:
			return last, false, err
		case after != "" && !later(letter.ID, after):
			continue
		case letter.ID == last: // of another partition: the next page begins with another ID
		case len(body.Letters) >= rowsOnPage:
			return last, true, nil
		case last != "" && time.Now().After(until):
			body.Late = true
			return last, true, nil
		}
		if last = letter.ID; body.Filter.letter(letter) {
			body.Letters = append(body.Letters, rowOf(topic, letter))
		}
	}
	return last, false, nil
}

func rowOf(topic string, letter admin.DeadLetter) letterRow {
	about := describe(letter.Message)
	download := link(downloadPath, "topic", letter.Stream, "dead", "1", "id", letter.ID)
	return letterRow{letter, letterKey(topic, letter), about.Content, about.Metadata, download}
}

// letterKey tells a dead letter of a topic from all others, in forms: its ID, which is followed by its
// partition, because letters of two partitions may have the same ID.
func letterKey(topic string, letter admin.DeadLetter) string {
	if letter.Stream == topic {
		return letter.ID
	}
	return letter.ID + " " + letter.Stream
}
