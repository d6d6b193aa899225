package command

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	completeTimeout = 2 * time.Second
	completeTopics  = 200 // more do not help a person
)

// complete completes the arguments of a command: a topic, a group of it, a consumer of that.
func (a *app) complete(levels int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= levels {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a.timeout = completeTimeout
		var names []string
		err := a.asking(cmd.Context(), func(ctx context.Context, s *server) (err error) {
			names, err = s.names(ctx, args, begin)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeConsumer completes a flag by the consumers of the group of the arguments.
func (a *app) completeConsumer(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) != 2 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(3)(cmd, args, begin)
}

// names returns the names that may follow args and start with begin.
func (s *server) names(ctx context.Context, args []string, begin string) (names []string, _ error) {
	add := func(name string) {
		if strings.HasPrefix(name, begin) {
			names = append(names, name)
		}
	}
	switch len(args) {
	case 0:
		for topic, err := range s.Topics(ctx, globQuote(begin)+"*") {
			if err != nil {
				return nil, err
			}
			if add(topic.Name); len(names) == completeTopics {
				break
			}
		}
	case 1:
		groups, err := s.Groups(ctx, args[0])
		if err != nil {
			return nil, err
		}
		for _, group := range groups {
			add(group.Name)
		}
	default:
		consumers, err := s.Consumers(ctx, args[0], args[1])
		if err != nil {
			return nil, err
		}
		for _, consumer := range consumers {
			add(consumer.Name)
		}
	}
	return names, nil
}

var globQuoter = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// globQuote makes a text match itself in SCAN.
func globQuote(s string) string { return globQuoter.Replace(s) }
