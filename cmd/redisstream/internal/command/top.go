package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

// Escape sequences of a terminal.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

const minInterval = 100 * time.Millisecond

type topView struct {
	Time   string         `json:"time"`
	Groups []topGroupView `json:"groups"`
}

type topGroupView struct {
	groupView

	Added   *float64 `json:"added_per_second"` // null: the first look
	Handled *float64 `json:"handled_per_second"`
}

// watch is one run of top.
type watch struct {
	app      *app
	topics   []string
	interval time.Duration
	looks    int // 0: until SIGINT
	most     int
	history  *admin.History
}

func (a *app) top() *cobra.Command {
	w := &watch{app: a}
	cmd := &cobra.Command{
		Use:   "top [TOPIC...]",
		Short: "Watch rates, lag and oldest age of all groups",
		Long: `Watch rates, lag and oldest age of all groups, those with the oldest unhandled entry first, until
SIGINT. Without a terminal it writes a table each --interval; JSON is one line for each look.`,
		Example:           "  redisstream top\n  redisstream top orders --interval 5s --looks 2",
		ValidArgsFunction: a.complete(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.interval < minInterval {
				return usage("--interval %s: it must be at least %s", w.interval, minInterval)
			}
			if w.looks < 0 || w.most < 0 {
				return usage("--looks and --topics must not be negative")
			}
			w.topics, w.history = args, admin.NewHistory(2)
			return a.with(cmd.Context(), func(s *server) error { return w.run(cmd.Context(), s) })
		},
	}
	cmd.Flags().DurationVar(&w.interval, "interval", 2*time.Second, "how often it looks")
	cmd.Flags().IntVar(&w.looks, "looks", 0, "`NUMBER` of looks; 0: until SIGINT")
	cmd.Flags().IntVar(&w.most, "topics", 1000, "`NUMBER` of topics at most; 0: all")
	return cmd
}

func (w *watch) drawn() bool { return w.app.OutTerminal && !w.app.json() }

func (w *watch) run(ctx context.Context, s *server) (err error) {
	if w.drawn() {
		if _, err := io.WriteString(w.app.Out, enterScreen); err != nil {
			return err
		}
		defer func() { _, _ = io.WriteString(w.app.Out, leaveScreen) }()
	}
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for look := 1; ; look++ {
		if err := w.look(ctx, s); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if look == w.looks {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *watch) look(ctx context.Context, s *server) error {
	return w.app.within(ctx, s, func(ctx context.Context) error {
		snapshot, err := s.Snapshot(ctx, w.most, w.topics...)
		if err != nil {
			return err
		}
		w.history.Add(snapshot)
		v := w.view(snapshot)
		switch {
		case w.app.json():
			return w.app.printLine(v)
		case w.drawn():
			return w.draw(v)
		default:
			_, err := w.app.Out.Write(append(v.table(), '\n'))
			return err
		}
	})
}

func (w *watch) view(snapshot admin.Snapshot) topView {
	v := topView{Time: text.Time(snapshot.Time), Groups: []topGroupView{}}
	for _, topic := range snapshot.Topics {
		for _, group := range topic.Groups {
			g := topGroupView{groupView: viewGroup(group)}
			if points := w.history.Points(group.Topic, group.Name); len(points) > 0 {
				last := points[len(points)-1]
				g.Added, g.Handled = &last.Added, &last.Handled
			}
			v.Groups = append(v.Groups, g)
		}
	}
	slices.SortStableFunc(v.Groups, func(x, y topGroupView) int {
		if x.oldest != y.oldest {
			return int(min(max(y.oldest-x.oldest, -1), 1))
		}
		return strings.Compare(x.Topic+"\x00"+x.Group, y.Topic+"\x00"+y.Group)
	})
	return v
}

// table returns the groups as text.
func (v topView) table() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s  %s\n", v.Time, count(len(v.Groups), "group"))
	table := newTable(&b)
	writeRow(table, []string{"TOPIC", "GROUP", "IN/S", "OUT/S", "LAG", "PENDING", "OLDEST", "MEMBERS", stateColumn})
	for _, g := range v.Groups {
		writeRow(table, []string{
			g.Topic, g.Group, rate(g.Added), rate(g.Handled), g.lag.String(), number(g.Pending), g.oldestAge(),
			number(int64(g.Members)), g.Description,
		})
	}
	_ = table.Flush() // a buffer takes all
	return b.Bytes()
}

func rate(r *float64) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *r)
}

// draw writes what fits on the terminal over what was there.
func (w *watch) draw(v topView) error {
	width, height := w.app.Size()
	var b bytes.Buffer
	b.WriteString(goHome)
	rows := slices.Collect(strings.Lines(string(v.table())))
	for i, row := range rows {
		if i == height-1 && len(rows) > height {
			fmt.Fprintf(&b, "… %d more", len(rows)-i)
			break
		}
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(text.Shorten(strings.TrimSuffix(row, "\n"), width))
		b.WriteString(clearLine)
	}
	b.WriteString(clearRest)
	_, err := w.app.Out.Write(b.Bytes())
	return err
}
