package command

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/spf13/cobra"
)

// selection is what a command is done to: IDs, those that --where finds, or all. What its dry run
// found is what the command is done to.
type selection struct {
	expression string
	all        bool

	ids     map[string]string // those of the arguments, and the stream that has each; nil: not by ID
	planned map[place]bool    // what the dry run found
}

// place tells a thing from all others: IDs of two partitions may be the same.
type place struct{ stream, id string }

func (s *selection) addTo(cmd *cobra.Command, things string) {
	cmd.Flags().StringVar(&s.expression, "where", "", whereUsage)
	cmd.Flags().BoolVar(&s.all, "all", false, "all "+things)
}

// take takes the IDs of the arguments.
func (s *selection) take(ids []string) error {
	ways := 0
	for _, used := range []bool{len(ids) > 0, s.expression != "", s.all} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return usage("say which: by ID, by --where, or --all")
	}
	if len(ids) > 0 {
		s.ids = make(map[string]string, len(ids))
		for _, id := range ids {
			s.ids[id] = ""
		}
	}
	return nil
}

// apply runs act, which asks chosen about each thing. An error of the selection changes nothing, because
// it comes in the dry run.
func (s *selection) apply(ctx context.Context, server *server, dryRun bool,
	act func(chosen func(at place, matches func(now time.Time) (bool, error)) bool) (admin.Outcome, error),
) (admin.Outcome, error) {
	if !dryRun {
		return act(func(at place, _ func(time.Time) (bool, error)) bool { return s.planned[at] })
	}
	now, err := server.now(ctx)
	if err != nil {
		return admin.Outcome{}, err
	}
	var failure error
	s.planned = make(map[place]bool)
	outcome, err := act(func(at place, matches func(time.Time) (bool, error)) bool {
		if failure != nil {
			return false
		}
		var wanted bool
		if s.ids != nil {
			wanted, failure = s.has(at)
		} else {
			wanted, failure = matches(now)
		}
		s.planned[at] = wanted && failure == nil
		return s.planned[at]
	})
	if failure != nil {
		return admin.Outcome{}, failure
	}
	return outcome, err
}

// has reports whether an argument is the ID of a thing. If two streams have one with that ID, it is an
// error.
func (s *selection) has(at place) (bool, error) {
	stream, wanted := s.ids[at.id]
	if !wanted {
		return false, nil
	}
	if stream != "" && stream != at.stream {
		return false, fmt.Errorf("%s: %w: %q and %q have it", at.id, redisstream.ErrAmbiguousID, stream, at.stream)
	}
	s.ids[at.id] = at.stream
	return true, nil
}
