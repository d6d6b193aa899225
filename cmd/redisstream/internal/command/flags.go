package command

import (
	"context"
	"regexp"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/millrace/redisstream/cmd/redisstream/internal/where"
	"github.com/spf13/cobra"
)

const whereUsage = "only those for which the `EXPRESSION` is true"

func addLimit(cmd *cobra.Command, most *int, initial int) {
	cmd.Flags().IntVarP(most, "limit", "n", initial, "how many at most; 0: all")
}

func checkLimit(most int) error {
	if most < 0 {
		return usage("--limit %d: it must not be negative", most)
	}
	return nil
}

// compile reads --where.
func compile[E any](expression string) (*where.Filter[E], error) {
	filter, err := where.Compile[E](expression)
	if err != nil {
		return nil, usage("--where: %w (docs/command.md lists the names)", err)
	}
	return filter, nil
}

var idPattern = regexp.MustCompile(`^\d+(-\d+)?$`)

// place reads an ID, a time, or how long ago; it returns the first ID from there on.
func (s *server) place(ctx context.Context, flag, value string) (string, error) {
	if value == "" || idPattern.MatchString(value) {
		return value, nil
	}
	if ago, err := text.ParseDuration(value); err == nil {
		now, err := s.now(ctx)
		if err != nil {
			return "", err
		}
		return admin.IDAt(now.Add(-ago)), nil
	}
	at, err := text.ParseTime(value)
	if err != nil {
		return "", usage("%s %q: it is an ID, a time such as 2006-01-02T15:04:05Z, or how long ago, such as 90m or 2d", flag, value)
	}
	return admin.IDAt(at), nil
}

// now returns the server's time: IDs have it.
func (s *server) now(ctx context.Context) (time.Time, error) {
	return s.client.Time(ctx).Result()
}

// durationFlag is a duration that may have days.
type durationFlag time.Duration

func (d *durationFlag) Set(s string) error {
	parsed, err := text.ParseDuration(s)
	*d = durationFlag(parsed)
	return err
}

func (d *durationFlag) String() string {
	if *d == 0 {
		return ""
	}
	return text.Age(time.Duration(*d))
}

func (d *durationFlag) Type() string { return "duration" }
