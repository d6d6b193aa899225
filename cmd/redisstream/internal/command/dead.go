package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/millrace/redisstream/cmd/redisstream/internal/where"
	"github.com/spf13/cobra"
)

type letterView struct {
	messageView // ID is that of the dead letter

	EntryID    string  `json:"entry_id"`
	Topic      string  `json:"topic"`
	Group      string  `json:"group"`
	Consumer   string  `json:"consumer"`
	Reason     string  `json:"reason"`
	LastError  string  `json:"error"`
	Deliveries int64   `json:"deliveries"`
	Died       string  `json:"dead_since"`
	AgeSeconds float64 `json:"age_seconds"`

	age time.Duration
}

func viewLetter(d admin.DeadLetter, now time.Time) letterView {
	v := letterView{
		messageView: viewMessage(d.Message), EntryID: d.EntryID, Topic: d.Stream, Group: d.Group, Consumer: d.Consumer,
		Reason: d.Reason, LastError: d.Error, Deliveries: d.Deliveries, Died: text.Time(d.Time), age: letterAge(d, now),
	}
	v.ID, v.AgeSeconds = d.ID, seconds(v.age)
	return v
}

// letterAge returns the time since an entry became a dead letter.
func letterAge(d admin.DeadLetter, now time.Time) time.Duration {
	if d.Time.IsZero() {
		return 0
	}
	return max(now.Sub(d.Time), 0)
}

func (v letterView) people() []string {
	lines := []string{
		"dead letter  " + v.ID,
		"entry        " + v.EntryID + " of " + v.Topic,
		"since        " + v.Died + " (" + text.Age(v.age) + ")",
		"group        " + v.Group,
		"consumer     " + v.Consumer,
		fmt.Sprintf("deliveries   %d", v.Deliveries),
		"reason       " + v.Reason,
		"error        " + v.LastError,
		"uuid         " + v.UUID,
	}
	if metadata := v.message.Metadata; len(metadata) > 0 {
		lines = append(lines, "metadata     "+pairs(metadata))
	}
	return append(lines, "payload      "+content(v.message, true))
}

var deadLetters = kind[admin.DeadLetter]{"dead", "dead letter", func(d admin.DeadLetter) place { return place{d.Stream, d.ID} }, letterFilter}

func (a *app) dead() *cobra.Command {
	return parent("dead", "List, show, replay, retry and drop dead letters", a.deadList(), a.deadShow(),
		selected(a, deadLetters, step[admin.DeadLetter]{
			"replay", "Move dead letters back into the topic: all groups get them", "Replay", "replayed", (*admin.Admin).ReplayDeadLetters,
		}),
		selected(a, deadLetters, step[admin.DeadLetter]{
			"retry", "Give dead letters back to the group that gave them up, and to no other", "Retry", "retried", (*admin.Admin).RetryDeadLetters,
		}),
		selected(a, deadLetters, step[admin.DeadLetter]{"drop", "Delete dead letters", "Drop", "dropped", (*admin.Admin).DropDeadLetters}),
	)
}

// letterFilter reads --where.
func letterFilter(expression string) (func(d admin.DeadLetter, now time.Time) (bool, error), error) {
	filter, err := compile[where.DeadLetter](expression)
	return func(d admin.DeadLetter, now time.Time) (bool, error) {
		if filter == nil {
			return true, nil
		}
		env := where.DeadLetter{
			Message: names(d.Message, now, filter.UsesJSON()), Reason: d.Reason, Error: d.Error, Group: d.Group,
			Consumer: d.Consumer, Deliveries: d.Deliveries, EntryID: d.EntryID,
		}
		env.ID, env.Age = d.ID, letterAge(d, now)
		return matching(filter, d.ID, env)
	}, err
}

func (a *app) deadList() *cobra.Command {
	var p page
	var expression string
	var full bool
	cmd := &cobra.Command{
		Use:               "list TOPIC",
		Short:             "List dead letters, the oldest first",
		Example:           "  redisstream dead list orders --where 'group == \"kitchen\" and age > duration(\"1h\")'",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(p.most); err != nil {
				return err
			}
			matches, err := letterFilter(expression)
			if err != nil {
				return err
			}
			row := func(v letterView) []string {
				return []string{
					v.ID, text.Age(v.age), v.Group, number(v.Deliveries), short(v.Reason, full), short(dash(v.LastError), full), v.UUID,
					content(v.message, full),
				}
			}
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				now, err := s.now(ctx)
				if err != nil {
					return err
				}
				l := list(a, []string{"ID", "AGE", "GROUP", "DELIVERIES", "REASON", "ERROR", "UUID", "PAYLOAD"}, row)
				return show(l, s.DeadLetters(ctx, args[0]), p,
					func(d admin.DeadLetter) (bool, error) { return matches(d, now) },
					func(d admin.DeadLetter) letterView { return viewLetter(d, now) })
			})
		},
	}
	addLimit(cmd, &p.most, 100)
	addFull(cmd, &full)
	cmd.Flags().StringVar(&expression, "where", "", whereUsage)
	return cmd
}

func (a *app) deadShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show TOPIC ID...",
		Short:             "Show all of some dead letters",
		Example:           "  redisstream dead show orders 1795520068644-0",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, ids := args[0], args[1:]
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				now, err := s.now(ctx)
				if err != nil {
					return err
				}
				found, missing := []letterView{}, slices.Clone(ids)
				for d, err := range s.DeadLetters(ctx, topic) {
					if err != nil {
						return err
					}
					switch {
					case slices.Contains(ids, d.ID): // those of several partitions may have the same ID
						found = append(found, viewLetter(d, now))
						missing = slices.DeleteFunc(missing, func(id string) bool { return id == d.ID })
					case len(missing) == 0:
						return a.showLetters(topic, missing, found)
					}
				}
				return a.showLetters(topic, missing, found)
			})
		},
	}
}

func (a *app) showLetters(topic string, missing []string, found []letterView) error {
	var people []string
	for i, v := range found {
		if i > 0 {
			people = append(people, "")
		}
		people = append(people, v.people()...)
	}
	if err := a.write(found, people...); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s has no dead letter %s", topic, strings.Join(missing, ", "))
	}
	return nil
}
