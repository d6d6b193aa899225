package command

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const transcriptFile = "../../../../docs/transcript.md"

const transcriptHead = `# A night with redisstream

A test (` + "`TestTranscript`" + ` in [transcript_test.go](../cmd/redisstream/internal/command/transcript_test.go)) runs these commands on a real server with real subscribers,
checks what they do, and compares this page. IDs, ages, times and the process are made alike in each run. [command.md](command.md) describes the
commands.
`

// transcript is what was typed and answered.
type transcript struct {
	*program

	page bytes.Buffer
	ids  map[string]string // IDs by those of the page
}

func (tr *transcript) section(title, text string) {
	fmt.Fprintf(&tr.page, "\n## %s\n", title)
	if text != "" {
		fmt.Fprintf(&tr.page, "\n%s\n", text)
	}
}

// types runs a command as in a shell, and returns what it wrote. The words of the page are quoted
// where a shell needs it.
func (tr *transcript) types(args ...string) string {
	tr.Helper()
	r := tr.run(args...)
	require.Zero(tr, r.code, "%s: %s%s", args, r.out, r.err)
	typed := make([]string, len(args))
	for i, arg := range args {
		if typed[i] = arg; strings.ContainsAny(arg, " '\"$") {
			typed[i] = "'" + arg + "'"
		}
	}
	fmt.Fprintf(&tr.page, "\n```\n$ redisstream %s\n%s```\n", tr.alike(strings.Join(typed, " ")), tr.alikeTable(r.out))
	return r.out
}

var (
	anyID      = regexp.MustCompile(`\b\d{13}-\d+\b`)
	anyTime    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	shortAge   = regexp.MustCompile(`\b\d+(ms|s)\b`)
	anyProcess = regexp.MustCompile(`\S+ pid \d+`)
	blockedBy  = regexp.MustCompile(`\d+( +blocked by)`) // deliveries of the poison message
	ofKitchen  = regexp.MustCompile(`(?m)( kitchen-1 .* )\d+$`)
	gap        = regexp.MustCompile(` {2,}`)
)

// alike replaces what differs in each run.
func (tr *transcript) alike(s string) string {
	s = anyID.ReplaceAllStringFunc(s, func(id string) string {
		if tr.ids[id] == "" {
			tr.ids[id] = fmt.Sprintf("%d-0", 1795520068644+len(tr.ids))
		}
		return tr.ids[id]
	})
	s = anyTime.ReplaceAllString(s, "2026-11-27T03:12:45.000Z")
	s = anyProcess.ReplaceAllString(s, "host1 pid 4711")
	s = blockedBy.ReplaceAllString(s, "7$1")
	s = ofKitchen.ReplaceAllString(s, "${1}7")
	return shortAge.ReplaceAllString(s, "3s")
}

// alikeTable is alike, with the columns aligned again.
func (tr *transcript) alikeTable(out string) string {
	var b bytes.Buffer
	table := tabwriter.NewWriter(lines{&b}, 0, 0, 2, ' ', 0)
	inTable := false
	for line := range strings.Lines(out) {
		isHeader := line == strings.ToUpper(line) && gap.MatchString(line)
		inTable = isHeader || inTable && strings.TrimSpace(line) != ""
		if line = tr.alike(line); inTable {
			line = gap.ReplaceAllString(line, "\t")
		} else {
			_ = table.Flush()
		}
		_, _ = table.Write([]byte(line))
	}
	_ = table.Flush()
	return b.String()
}

// Each question of the night is answered by at most two commands.
func TestTranscript(t *testing.T) {
	t.Parallel()
	p := newProgramOn(fixture.NewOn(t, redistest.Start(t)))
	tr := &transcript{program: p, ids: map[string]string{}}
	tr.page.WriteString(transcriptHead)
	s := &stage{program: p}

	poison := s.orders()
	tr.section("Which group lags, and why?", "The kitchen is blocked by one entry, which fails again and again. Nobody consumes for audit. A handler of billing hangs.")
	out := tr.types("groups", "orders", "--hung-after", "1s")
	assert.Regexp(t, `kitchen +1 .* \d+ +blocked by `+poison, out)
	assert.Regexp(t, `audit +0 .*abandoned`, out)
	assert.Regexp(t, `billing +2 .*hung`, out)

	tr.section("Who blocks trimming?", "The same table tells. The group audit is not used any more: without it, trimming goes on.")
	assert.Regexp(t, `audit .*blocks trimming`, out)
	tr.types("delete", "orders", "audit", "--dry-run")
	tr.types("delete", "orders", "audit", "--yes")
	assert.NotContains(t, p.do("groups", "orders"), "audit")

	tr.section("What is the oldest unhandled entry?", "")
	assert.Contains(t, tr.types("pending", "orders", "kitchen", "-n", "1"), poison)

	tr.section("Which consumer hangs?", "HELD tells which entry its handler has, and for how long.")
	assert.Regexp(t, `billing-1 +hung`, tr.types("consumers", "orders", "billing", "--hung-after", "1s"))

	tr.section("What is in the poison message? Skip it, keeping a dead letter", "")
	assert.Contains(t, tr.types("tail", "orders", "--from", poison, "-n", "1"), `"product":"???"`)
	tr.types("skip", "orders", "kitchen", poison, "--dead-letter", "--reason", "no such product", "--yes")
	for range ordersAfterPoison { // the kitchen goes on
		assert.NotContains(t, string(fixture.Receive(t, s.cooked).Payload), "???")
	}
	assert.Contains(t, p.do("dead", "list", "orders"), "no such product")

	tr.section("Was this message handled?", "Each group has an answer.")
	out = tr.types("find", "orders", poisonUUID)
	assert.Regexp(t, `kitchen +dead letter`, out)
	s.dismiss()

	s.invoices()
	tr.section("Of 50 dead letters, retry the 20 of one customer, and drop the rest",
		"The 20 go to the group that gave them up, and to no other.")
	tr.types("dead", "retry", "invoices", "--where", "json.customer == 7", "--yes")
	for range 20 {
		msg := fixture.Receive(t, s.mailed)
		assert.Contains(t, string(msg.Payload), `"customer":7`)
	}
	assert.Contains(t, tr.types("dead", "drop", "invoices", "--all", "--yes"), "Dropped 30 dead letters")
	assert.Equal(t, "[]\n", p.do("dead", "list", "invoices", "-o", "json"))
	fixture.NothingComes(t, s.archived, 50*time.Millisecond)
	s.dismiss()

	s.payments()
	tr.section("Handle the last two hours again", "The dry run tells what the group would get.")
	assert.Contains(t, tr.types("reset", "payments", "ledger", "--ago", "2h", "--dry-run"), "lag 12 instead of 0")
	fixture.NothingComes(t, s.booked, 50*time.Millisecond)
	tr.types("reset", "payments", "ledger", "--ago", "2h", "--yes")
	for i := range paymentsOfTwoHours {
		assert.Equal(t, fmt.Sprintf("recent-%d", i), string(fixture.Receive(t, s.booked).Payload))
	}

	s.eventually(s.ledgerIsIdle, "everything is handled again")
	tr.section("Pause a group, and let it go on", "All its subscribers stop, in all processes.")
	tr.types("pause", "payments", "ledger", "--by", "alice", "--reason", "the database moves")
	assert.Regexp(t, `ledger .*paused`, tr.types("groups", "payments"))
	tr.types("resume", "payments", "ledger")
	p.publishTo("payments", message.NewMessage("late", []byte("late")))
	assert.Equal(t, "late", string(fixture.Receive(t, s.booked).Payload))

	if *update {
		require.NoError(t, os.WriteFile(transcriptFile, tr.page.Bytes(), 0o644))
		return
	}
	page, err := os.ReadFile(transcriptFile)
	require.NoError(t, err)
	assert.Equal(t, string(page), tr.page.String(), "run: cd cmd/redisstream && go test ./internal/command -run 'TestReference|TestTranscript' -update")
}

const (
	ordersAfterPoison  = 5
	paymentsOfTwoHours = 12
	poisonUUID         = "01890a5d-ac96-774b-bcce-b302099a8057"
)

// stage has the subscribers of the transcript.
type stage struct {
	*program

	subscribers []*redisstream.Subscriber

	cooked   chan *message.Message // what kitchen handled after the poison
	mailed   chan *message.Message
	archived chan *message.Message
	booked   chan *message.Message
}

// subscribe starts a subscriber. Its messages go to handle, at most as many at a time as it has
// workers.
func (s *stage) subscribe(topic string, config redisstream.SubscriberConfig, handle func(*message.Message)) *redisstream.Subscriber {
	s.Helper()
	config.Client, config.ClaimMinIdle, config.CloseTimeout = s.Client, 3*time.Second, time.Millisecond
	subscriber, err := redisstream.NewSubscriber(config, nil)
	require.NoError(s, err)
	messages, err := subscriber.Subscribe(s.Context(), topic)
	require.NoError(s, err)
	go func() {
		for msg := range messages {
			handle(msg)
		}
	}()
	s.Cleanup(func() { assert.NoError(s, subscriber.Close()) })
	s.subscribers = append(s.subscribers, subscriber)
	return subscriber
}

// dismiss closes the subscribers.
func (s *stage) dismiss() {
	for _, subscriber := range s.subscribers {
		require.NoError(s, subscriber.Close())
	}
	s.subscribers = nil
}

func (p *program) publishTo(topic string, messages ...*message.Message) {
	p.Helper()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: p.Client}, nil)
	require.NoError(p, err)
	require.NoError(p, publisher.Publish(topic, messages...))
	require.NoError(p, publisher.Close())
}

// addAt adds an entry that was added some time ago.
func (p *program) addAt(topic string, ago time.Duration, seq int, payload string) {
	p.Helper()
	fields, err := redisstream.MsgpackMarshaler{}.Marshal(topic, message.NewMessage(payload, []byte(payload)))
	require.NoError(p, err)
	id := fmt.Sprintf("%d-%d", time.Now().Add(-ago).UnixMilli(), seq)
	require.NoError(p, p.Client.XAdd(p.Context(), &redis.XAddArgs{Stream: topic, ID: id, Values: fields}).Err())
}

// orders fills the topic orders: the group kitchen is blocked by a poison message, audit is abandoned,
// billing has a hung handler. It returns the ID of the poison.
func (s *stage) orders() (poison string) {
	s.Helper()
	s.addAt("orders", 3*time.Hour, 0, `{"order":1000,"product":"tea"}`)
	audit := s.subscribe("orders", redisstream.SubscriberConfig{ConsumerGroup: "audit"}, func(msg *message.Message) { msg.Nack() })
	require.NoError(s, audit.Close())

	s.cooked = make(chan *message.Message, 100)
	s.subscribe("orders", redisstream.SubscriberConfig{
		ConsumerGroup: "kitchen", Consumer: "kitchen-1",
		NackBackoff: func(attempt int) time.Duration {
			if attempt < 7 {
				return time.Millisecond
			}
			return time.Second
		},
	}, func(msg *message.Message) {
		if msg.UUID == poisonUUID {
			msg.Nack()
			return
		}
		if strings.Contains(string(msg.Payload), "after") {
			s.cooked <- msg
		}
		msg.Ack()
	})
	hang, hangs := make(chan struct{}), make(chan struct{})
	s.Cleanup(func() { close(hang) })
	billing := func(msg *message.Message) {
		if msg.UUID == "hang" {
			close(hangs)
			<-hang
		}
		msg.Ack()
	}
	s.subscribe("orders", redisstream.SubscriberConfig{ConsumerGroup: "billing", Consumer: "billing-1"}, billing)
	s.publishTo("orders", message.NewMessage("hang", []byte(`{"order":1000}`)))
	fixture.WaitDone(s, hangs, "a handler hangs")
	s.subscribe("orders", redisstream.SubscriberConfig{ConsumerGroup: "billing", Consumer: "billing-2"}, billing)
	s.publishTo("orders", message.NewMessage(poisonUUID, []byte(`{"order":1001,"product":"???"}`)))
	for i := range ordersAfterPoison {
		s.publishTo("orders", message.NewMessage(fmt.Sprint(i), fmt.Appendf(nil, `{"order":%d,"after":true}`, 1002+i)))
	}
	s.eventually(func() bool {
		for _, e := range ask[[]pendingView](s.program, "pending", "orders", "kitchen") {
			if e.Deliveries >= 7 {
				poison = e.ID
			}
		}
		states := map[string]string{}
		for _, g := range ask[[]groupView](s.program, "groups", "orders", "--hung-after", "1s") {
			states[g.Group] = g.State
		}
		return poison != "" && states["kitchen"] == "blocked" && states["billing"] == "hung" && states["audit"] == "abandoned"
	}, "the members have reported")
	return poison
}

// invoices fills the dead letters of the topic invoices: 50 that the group mail gave up, 20 of them of
// customer 7. The group archive has handled all.
func (s *stage) invoices() {
	s.Helper()
	s.mailed, s.archived = make(chan *message.Message, 100), make(chan *message.Message, 100)
	mail := s.subscribe("invoices", redisstream.SubscriberConfig{ConsumerGroup: "mail", Consumer: "mail-1", MaxDeliveries: 1}, func(msg *message.Message) {
		msg.Nack()
	})
	archive := make(chan struct{}, 100)
	s.subscribe("invoices", redisstream.SubscriberConfig{ConsumerGroup: "archive", Consumer: "archive-1"}, func(msg *message.Message) {
		if len(archive) < 50 {
			archive <- struct{}{}
		} else {
			s.archived <- msg
		}
		msg.Ack()
	})
	var messages []*message.Message
	for i := range 50 {
		customer := 7
		if i >= 20 {
			customer = 8 + i%5
		}
		messages = append(messages, message.NewMessage(fmt.Sprint("invoice-", i), fmt.Appendf(nil, `{"invoice":%d,"customer":%d}`, i, customer)))
	}
	s.publishTo("invoices", messages...)
	s.eventually(func() bool {
		return len(archive) == 50 && len(ask[[]letterView](s.program, "dead", "list", "invoices")) == 50
	}, "50 dead letters")
	require.NoError(s, mail.Close())
	s.subscribe("invoices", redisstream.SubscriberConfig{ConsumerGroup: "mail", Consumer: "mail-1"}, func(msg *message.Message) {
		s.mailed <- msg
		msg.Ack()
	})
}

// payments fills the topic payments. The group ledger has handled all: what is three hours old, and
// what was added in the last two.
func (s *stage) payments() {
	s.Helper()
	for i := range 100 {
		s.addAt("payments", 3*time.Hour, i, fmt.Sprintf("old-%d", i))
	}
	for i := range paymentsOfTwoHours {
		s.addAt("payments", time.Hour-time.Duration(i)*time.Minute, 0, fmt.Sprintf("recent-%d", i))
	}
	s.booked = make(chan *message.Message, 200)
	s.subscribe("payments", redisstream.SubscriberConfig{ConsumerGroup: "ledger", Consumer: "ledger-1"}, func(msg *message.Message) {
		s.booked <- msg
		msg.Ack()
	})
	for range 100 + paymentsOfTwoHours {
		fixture.Receive(s, s.booked)
	}
	s.eventually(s.ledgerIsIdle, "everything is handled")
}

func (s *stage) ledgerIsIdle() bool {
	return ask[[]groupView](s.program, "groups", "payments")[0].State == "idle"
}
