package command

import (
	"context"
	"strconv"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

type topicView struct {
	Topic       string `json:"topic"`
	Partitions  int    `json:"partitions"`
	Draining    int    `json:"draining"`
	Length      int64  `json:"length"`
	Added       int64  `json:"added"`
	Groups      int    `json:"groups"`
	FirstID     string `json:"first_id"`
	LastID      string `json:"last_id"`
	Oldest      string `json:"oldest"`
	Newest      string `json:"newest"`
	Bytes       *int64 `json:"bytes"` // null: unknown
	DeadLetters int64  `json:"dead_letters"`
	Delayed     int64  `json:"delayed"`
	Parked      int64  `json:"parked"`
}

func viewTopic(t admin.Topic) topicView {
	v := topicView{
		Topic: t.Name, Partitions: t.Partitions, Draining: t.Draining,
		Length: t.Length, Added: t.Added, Groups: t.Groups, FirstID: t.FirstID, LastID: t.LastID,
		Oldest: text.Time(t.Oldest), Newest: text.Time(t.Newest),
		DeadLetters: t.DeadLetters, Delayed: t.Delayed, Parked: t.Parked,
	}
	if t.Bytes >= 0 {
		v.Bytes = &t.Bytes
	}
	return v
}

func (v topicView) row() []string {
	bytes := "?"
	if v.Bytes != nil {
		bytes = strconv.FormatInt(*v.Bytes, 10)
	}
	return []string{
		v.Topic, number(v.Length), strconv.Itoa(v.Groups), bytes, number(v.DeadLetters), number(v.Delayed), number(v.Parked), v.Oldest, v.Newest,
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func (a *app) topics() *cobra.Command {
	var p page
	cmd := &cobra.Command{
		Use:   "topics [PATTERN]",
		Short: "List topics, in no order",
		Long: `List topics, in no order. PATTERN is as that of Redis' SCAN: *, ?, [a-c].

Streams of dead letters are not listed: their number is in the column DEAD of their topic.`,
		Example:           "  redisstream topics 'orders*'",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkLimit(p.most); err != nil {
				return err
			}
			match := ""
			if len(args) > 0 {
				match = args[0]
			}
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				columns := []string{"TOPIC", "LENGTH", "GROUPS", "BYTES", "DEAD", "DELAYED", "PARKED", "OLDEST", "NEWEST"}
				return show(list(a, columns, topicView.row), s.Topics(ctx, match), p, all[admin.Topic], viewTopic)
			})
		},
	}
	addLimit(cmd, &p.most, 1000)
	return cmd
}
