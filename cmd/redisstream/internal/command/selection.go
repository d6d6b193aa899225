package command

import (
	"context"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/spf13/cobra"
)

// selection is what a command is done to: IDs, those that --where finds, or all. What its dry run
// found is what the command is done to.
type selection struct {
	expression string
	all        bool

	ids     map[string]bool // nil: not by ID
	planned map[string]bool // what the dry run found
}

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
		s.ids = set(ids)
	}
	return nil
}

func set(ids []string) map[string]bool {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// apply runs act, which asks chosen about each ID. An error of --where changes nothing, because it
// comes in the dry run.
func (s *selection) apply(ctx context.Context, server *server, dryRun bool,
	act func(chosen func(id string, matches func(now time.Time) (bool, error)) bool) (admin.Outcome, error),
) (admin.Outcome, error) {
	now, err := server.now(ctx)
	if err != nil {
		return admin.Outcome{}, err
	}
	var failure error
	outcome, err := act(func(id string, matches func(time.Time) (bool, error)) bool {
		switch {
		case failure != nil:
			return false
		case !dryRun:
			return s.planned[id]
		case s.ids != nil:
			return s.ids[id]
		}
		wanted, err := matches(now)
		if err != nil {
			failure = err
		}
		return wanted && err == nil
	})
	if failure != nil {
		return admin.Outcome{}, failure
	}
	if dryRun && err == nil {
		s.planned = set(outcome.IDs)
	}
	return outcome, err
}
