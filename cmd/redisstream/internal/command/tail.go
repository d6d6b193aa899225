package command

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/millrace/redisstream/cmd/redisstream/internal/where"
	"github.com/spf13/cobra"
)

const defaultTail = 10

// tailing is one run of tail.
type tailing struct {
	app                    *app
	topic, from            string
	most                   int
	follow, full, withMost bool
	filter                 *where.Filter[where.Message]
	expression             string
}

func (a *app) tail() *cobra.Command {
	t := &tailing{app: a}
	cmd := &cobra.Command{
		Use:   "tail TOPIC",
		Short: "Show messages, decoded: the newest, those since a place, and what comes",
		Long: `Show messages, decoded: the newest, those since a place, and what comes. It joins no group, so it
takes no message from anyone.

Without --from it shows the newest 10, with --from all that come after. JSON is one line for each message.`,
		Example: "  redisstream tail orders --from 2h --where 'json.customer == 7'\n" +
			"  redisstream tail orders --from 1795520068644-0 -n 1 --full\n" +
			"  redisstream tail orders --follow -o json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			t.topic, t.withMost = args[0], cmd.Flags().Changed("limit")
			if err := checkLimit(t.most); err != nil {
				return err
			}
			if t.filter, err = compile[where.Message](t.expression); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(s *server) error { return t.run(cmd.Context(), s) })
		},
	}
	addLimit(cmd, &t.most, defaultTail)
	addFull(cmd, &t.full)
	flags := cmd.Flags()
	flags.StringVar(&t.from, "from", "", "begin at this `PLACE`: an ID, a time, or how long ago; 0: the oldest")
	flags.BoolVarP(&t.follow, "follow", "f", false, "go on with what is added, until SIGINT")
	flags.StringVar(&t.expression, "where", "", whereUsage)
	return cmd
}

func (t *tailing) run(ctx context.Context, s *server) error {
	var after string
	shown := 0
	err := t.app.within(ctx, s, func(ctx context.Context) (err error) {
		after, shown, err = t.present(ctx, s)
		return err
	})
	enough := t.from != "" && t.withMost && t.most > 0 && shown >= t.most
	if err != nil || !t.follow || enough {
		return err
	}
	return until(ctx, s, func(ctx context.Context) error { return t.coming(ctx, s, after, shown) })
}

// present shows what is there. It returns after which entry to follow.
func (t *tailing) present(ctx context.Context, s *server) (after string, shown int, _ error) {
	topic, err := s.Topic(ctx, t.topic)
	missing := errors.Is(err, admin.ErrNoTopic) && t.follow // it may come
	if err != nil && !missing {
		return "", 0, err
	}
	now, err := s.now(ctx)
	if err != nil {
		return "", 0, err
	}
	if missing {
		return "0-0", 0, nil
	}
	keep := messageFilter(t.filter, now)
	if t.from == "" {
		shown, err = t.newest(ctx, s, topic.LastID, keep)
		return topic.LastID, shown, err
	}
	first, err := s.place(ctx, "--from", t.from)
	if err != nil {
		return "", 0, err
	}
	after, most := topic.LastID, t.most
	if !t.withMost {
		most = 0
	}
	shown, err = t.write(s.Messages(ctx, t.topic, admin.Range{From: first, To: topic.LastID}), most, keep)
	return after, shown, err
}

// newest shows the newest messages, the oldest of them first.
func (t *tailing) newest(ctx context.Context, s *server, last string, keep func(admin.Message) (bool, error)) (int, error) {
	var list []admin.Message
	for m, err := range s.Messages(ctx, t.topic, admin.Range{To: last, Reverse: true}) {
		if err != nil {
			return 0, err
		}
		wanted, err := keep(m)
		if err != nil {
			return 0, err
		}
		if wanted {
			list = append(list, m)
		}
		if len(list) == t.most && t.most > 0 {
			break
		}
	}
	slices.Reverse(list)
	for _, m := range list {
		if err := t.printOne(m); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

func (t *tailing) write(seq iter.Seq2[admin.Message, error], most int, keep func(admin.Message) (bool, error)) (int, error) {
	shown := 0
	for m, err := range seq {
		if err != nil {
			return shown, err
		}
		wanted, err := keep(m)
		if err != nil {
			return shown, err
		}
		if !wanted {
			continue
		}
		if err := t.printOne(m); err != nil {
			return shown, err
		}
		if shown++; shown == most {
			return shown, nil
		}
	}
	return shown, nil
}

// coming shows what is added, until ctx ends: that is no error.
func (t *tailing) coming(ctx context.Context, s *server, after string, shown int) error {
	most := 0
	if t.withMost && t.from != "" && t.most > 0 {
		most = t.most - shown
	}
	keep := func(m admin.Message) (bool, error) { return messageFilter(t.filter, m.Time)(m) } // its age is 0
	_, err := t.write(s.Follow(ctx, t.topic, after), most, keep)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // SIGINT ends it
	}
	return err
}

func (t *tailing) printOne(m admin.Message) error {
	if t.app.json() {
		return t.app.printLine(viewMessage(m))
	}
	parts := []string{m.ID, text.Time(m.Time), m.UUID}
	if len(m.Metadata) > 0 {
		parts = append(parts, "["+pairs(m.Metadata)+"]")
	}
	_, err := fmt.Fprintln(t.app.Out, text.Printable(strings.Join(append(parts, content(m, t.full)), "  ")))
	return err
}
