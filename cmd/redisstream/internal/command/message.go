package command

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/millrace/redisstream/cmd/redisstream/internal/where"
	"github.com/spf13/cobra"
)

// previewLength is how many characters of a payload people see without --full.
const previewLength = 200

// messageView is a message in JSON. What is no UTF-8 is base64, in the fields that end so.
type messageView struct {
	ID             string            `json:"id"`
	Time           string            `json:"time"`
	UUID           string            `json:"uuid"`
	Payload        *string           `json:"payload"` // null: it is in PayloadBase64, or Error tells why there is none
	PayloadBase64  string            `json:"payload_base64,omitempty"`
	Metadata       map[string]string `json:"metadata"`
	MetadataBase64 map[string]string `json:"metadata_base64,omitempty"`
	Bytes          int               `json:"bytes"`
	Error          string            `json:"decode_error,omitempty"`
	Fields         map[string]string `json:"fields,omitempty"` // of what could not be decoded

	message admin.Message
}

func viewMessage(m admin.Message) messageView {
	v := messageView{ID: m.ID, Time: text.Time(m.Time), UUID: m.UUID, Bytes: m.Bytes, message: m}
	v.Metadata, v.MetadataBase64 = viewMetadata(m.Metadata)
	if m.Err != nil {
		v.Error, v.Fields = m.Err.Error(), map[string]string{}
		for name, value := range m.Fields {
			v.Fields[text.Printable(name)] = text.Printable(fmt.Sprint(value))
		}
		return v
	}
	if utf8.Valid(m.Payload) {
		payload := string(m.Payload)
		v.Payload = &payload
	} else {
		v.PayloadBase64 = base64.StdEncoding.EncodeToString(m.Payload)
	}
	return v
}

func viewMetadata(metadata message.Metadata) (texts, base64s map[string]string) {
	texts = map[string]string{}
	for key, value := range metadata {
		if key = text.Printable(key); utf8.ValidString(value) {
			texts[key] = value
			continue
		}
		if base64s == nil {
			base64s = map[string]string{}
		}
		base64s[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	return texts, base64s
}

// content returns the payload for people, or why there is none.
func content(m admin.Message, full bool) string {
	shown := string(m.Payload)
	if m.Err != nil {
		shown = fmt.Sprintf("(not decoded: %s) %s", m.Err, pairs(m.Fields))
	}
	return short(shown, full)
}

func short(s string, full bool) string {
	if full {
		return s
	}
	return text.Shorten(s, previewLength)
}

// pairs returns a map as "a=1 b=2".
func pairs[V any](m map[string]V) string {
	list := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, fmt.Sprintf("%s=%v", key, m[key]))
	}
	return strings.Join(list, " ")
}

// people returns all of a message, for people.
func (v messageView) people() []string {
	lines := []string{
		"id        " + v.ID,
		"added     " + v.Time,
		"uuid      " + v.UUID,
		fmt.Sprintf("bytes     %d", v.Bytes),
	}
	for _, key := range slices.Sorted(maps.Keys(v.message.Metadata)) {
		lines = append(lines, fmt.Sprintf("metadata  %s=%s", key, v.message.Metadata[key]))
	}
	return append(lines, "payload   "+content(v.message, true))
}

// names returns what --where sees of a message.
func names(m admin.Message, now time.Time, parseJSON bool) where.Message {
	env := where.Message{
		ID: m.ID, UUID: m.UUID, Payload: string(m.Payload), JSON: map[string]any{}, Metadata: m.Metadata,
		Time: m.Time, Age: now.Sub(m.Time), Bytes: m.Bytes,
	}
	if parseJSON {
		env.JSON = where.ParseJSON(m.Payload)
	}
	return env
}

// matching evaluates a filter. Its error names the entry.
func matching[E any](filter *where.Filter[E], id string, env E) (bool, error) {
	matches, err := filter.Match(env)
	if err != nil {
		return false, fmt.Errorf("--where: entry %s: %w", id, err)
	}
	return matches, nil
}

func messageFilter(filter *where.Filter[where.Message], now time.Time) func(admin.Message) (bool, error) {
	return func(m admin.Message) (bool, error) {
		return matching(filter, m.ID, names(m, now, filter.UsesJSON()))
	}
}

func addFull(cmd *cobra.Command, full *bool) {
	cmd.Flags().BoolVar(full, "full", false, fmt.Sprintf("show payloads whole, not only %d characters", previewLength))
}
