package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) resume() *cobra.Command {
	return &cobra.Command{
		Use:               "resume TOPIC GROUP",
		Short:             "End a pause: the subscribers go on within 2 s",
		Example:           "  redisstream resume orders kitchen",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				if err := s.Resume(ctx, args[0], args[1]); err != nil {
					return err
				}
				return a.write(pausedView{args[0], args[1], false}, fmt.Sprintf("Resumed %s on %s", args[1], args[0]))
			})
		},
	}
}
