package command

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"
)

type pausedView struct {
	Topic  string `json:"topic"`
	Group  string `json:"group"`
	Paused bool   `json:"paused"`
}

func (a *app) pause() *cobra.Command {
	var by, reason string
	cmd := &cobra.Command{
		Use:   "pause TOPIC GROUP",
		Short: "Make all subscribers of a group stop reading a topic",
		Long: `Make all subscribers of a group stop reading a topic, within 2 s. Handlers that run may finish. It
stays until "resume", also when processes restart. It does not ask: it destroys nothing.`,
		Example:           "  redisstream pause orders kitchen --reason 'the printer is broken'",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.complete(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if by == "" {
				by = whoami()
			}
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				if err := s.Pause(ctx, args[0], args[1], by, reason); err != nil {
					return err
				}
				return a.write(pausedView{args[0], args[1], true}, fmt.Sprintf("Paused %s on %s", args[1], args[0]))
			})
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "who pauses, for people (default: user and host)")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	return cmd
}

// whoami returns "user@host".
func whoami() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
