package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/spf13/cobra"
)

// maxPayload is the longest payload that publish reads. The server takes up to 512 MiB.
const maxPayload = 64 << 20

type publishView struct {
	Topic string   `json:"topic"`
	UUIDs []string `json:"uuids"`
}

// publication is one run of publish.
type publication struct {
	app      *app
	file     string
	uuid     string
	key      string
	metadata []string
	lines    bool
	delay    durationFlag
}

func (a *app) publish() *cobra.Command {
	p := &publication{app: a}
	cmd := &cobra.Command{
		Use:   "publish TOPIC [PAYLOAD]",
		Short: "Publish a message: the argument, a file or the standard input",
		Long: `Publish a message: the argument, a file or the standard input.

A delayed message is moved to the topic by its subscribers, or by another publisher or Scheduler: this
command does not stay for it.`,
		Example: "  redisstream publish orders '{\"customer\":7}' -m type=created --delay 10m\n" +
			"  redisstream publish orders --lines < orders.jsonl",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			messages, err := p.messages(args[1:])
			if err != nil {
				return err
			}
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error { return p.run(ctx, s, args[0], messages) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.file, "file", "", "take the payload from this `FILE`; -: the standard input")
	flags.StringVar(&p.uuid, "uuid", "", "`UUID` of the message (default: a new one)")
	flags.StringVar(&p.key, "key", "", "`KEY` of the partition, if the topic has partitions (default: partitions have their turns)")
	flags.StringArrayVarP(&p.metadata, "metadata", "m", nil, "`KEY=VALUE` of the metadata; may be repeated")
	flags.BoolVar(&p.lines, "lines", false, "each line is a message")
	flags.Var(&p.delay, "delay", "deliver it after that time")
	return cmd
}

func (p *publication) run(ctx context.Context, s *server, topic string, messages []*message.Message) error {
	marshaler, err := formatOf(p.app.format)
	if err != nil {
		return err
	}
	v := publishView{Topic: topic}
	for _, msg := range messages {
		msg.SetContext(ctx)
		v.UUIDs = append(v.UUIDs, msg.UUID)
	}
	config := redisstream.PublisherConfig{Client: s.client, Marshaler: marshaler}
	err = publishWith(config, topic, messages)
	if errors.Is(err, redisstream.ErrPartitions) { // nothing was sent
		about, failure := s.Topic(ctx, topic)
		if failure != nil {
			return failure
		}
		config.Partitions, config.PartitionKey = about.Partitions, func(*message.Message) string { return p.key }
		err = publishWith(config, topic, messages)
	}
	if err != nil {
		return err
	}
	people := fmt.Sprintf("Published %s to %s: %s", count(len(messages), "message"), topic, strings.Join(v.UUIDs, " "))
	if len(messages) > 1 {
		people = fmt.Sprintf("Published %s to %s.", count(len(messages), "message"), topic)
	}
	return p.app.write(v, people)
}

func publishWith(config redisstream.PublisherConfig, topic string, messages []*message.Message) error {
	publisher, err := redisstream.NewPublisher(config, nil)
	if err != nil {
		return err
	}
	return errors.Join(publisher.Publish(topic, messages...), publisher.Close())
}

// messages returns what is to be published. args has the payload, or nothing.
func (p *publication) messages(args []string) ([]*message.Message, error) {
	payload, err := p.payload(args)
	if err != nil {
		return nil, err
	}
	payloads := [][]byte{payload}
	if p.lines {
		payloads = nil
		for line := range bytes.Lines(payload) {
			if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
				payloads = append(payloads, line)
			}
		}
	}
	switch {
	case len(payloads) == 0:
		return nil, usage("publish: there is no line to publish")
	case p.uuid != "" && len(payloads) > 1:
		return nil, usage("publish: --uuid is for one message, and there are %d lines", len(payloads))
	case p.delay < 0:
		return nil, usage("publish: --delay must not be negative")
	}
	messages := make([]*message.Message, len(payloads))
	for i, payload := range payloads {
		uuid := p.uuid
		if uuid == "" {
			uuid = watermill.NewUUID()
		}
		messages[i] = message.NewMessage(uuid, payload)
		if err := p.describe(messages[i]); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// describe sets the metadata.
func (p *publication) describe(msg *message.Message) error {
	for _, pair := range p.metadata {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return usage("--metadata %q: it is KEY=VALUE", pair)
		}
		msg.Metadata.Set(key, value)
	}
	if p.delay > 0 {
		delay.Message(msg, delay.For(time.Duration(p.delay)))
	}
	return nil
}

func (p *publication) payload(args []string) ([]byte, error) {
	switch {
	case len(args) > 0 && p.file != "":
		return nil, usage("publish: the payload is the argument or --file, not both")
	case len(args) > 0:
		return []byte(args[0]), nil
	case p.file != "" && p.file != "-":
		file, err := os.Open(p.file)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // it was read
		return readPayload(file)
	case p.app.InTerminal && p.file == "":
		return nil, usage("publish: there is no payload: give it as the argument, as --file, or on the standard input")
	default:
		return readPayload(p.app.In)
	}
}

func readPayload(from io.Reader) ([]byte, error) {
	payload, err := io.ReadAll(io.LimitReader(from, maxPayload+1))
	if err == nil && len(payload) > maxPayload {
		err = fmt.Errorf("the payload is longer than %d MiB", maxPayload>>20)
	}
	return payload, err
}

// count returns "1 message", or "2 messages".
func count(n int, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(thing, "y"))
	default:
		return fmt.Sprintf("%d %ss", n, thing)
	}
}
