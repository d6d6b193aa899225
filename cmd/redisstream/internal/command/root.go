package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

// Run runs the program and returns its exit code. An error is one line on Err.
func Run(ctx context.Context, streams Streams, args []string) int {
	a := &app{Streams: streams}
	root := a.root()
	root.SetArgs(args)
	ran, err := root.ExecuteContextC(ctx)
	if ctx.Err() != nil && err != nil {
		err = errInterrupted
	}
	if ran != nil && ran.Annotations[probe] != "" {
		return a.endCheck(err)
	}
	if err != nil && !errors.Is(err, errQuiet) && exitCode(err) != ExitOK {
		line := "redisstream: " + text.Printable(err.Error())
		if hint := next(err); hint != "" {
			line += " (" + hint + ")"
		}
		_, _ = fmt.Fprintln(a.Err, line)
	}
	return exitCode(err)
}

// errQuiet ends the program with exit code 1, when everything is said.
var errQuiet = errors.New("quiet")

// root returns the whole program.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "redisstream",
		Short: "See and repair topics of redisstream, and any other Redis streams",
		Long: `See and repair topics of redisstream, and any other Redis streams.

The server is the one of REDIS_URL, as redisstream.Connect takes it:
  redis://user:password@host:6379              one server; rediss:// with TLS
  redis://host1:6379?addr=host2:6379           a cluster
  redis://host:26379?master_name=mymaster      Sentinel

Exit codes: 0 done, 1 error, 2 wrong usage, 3 not confirmed, 130 interrupted.
"redisstream check" has those of monitoring plugins.`,
		Example:           "  redisstream topics\n  redisstream groups orders\n  redisstream dead list orders --where 'json.customer == 7'",
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkFlags() },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w (see %s --help)", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "url", "", "`URL` of the server, without a password (default: REDIS_URL, else "+defaultURL+")")
	flags.StringVarP(&a.output, "output", "o", "table", "`FORM` of the output: table or json")
	flags.StringVar(&a.format, "format", "msgpack", "`NAME` of the entries' format: msgpack, json or plain")
	flags.DurationVar(&a.timeout, "timeout", defaultTimeout, "longest time for a command that does not follow; 0: no limit")
	flags.DurationVar(&a.hungAfter, "hung-after", admin.DefaultHungAfter, "how long a handler may have a message before its consumer counts as hung")
	root.AddCommand(
		a.topics(), a.groups(), a.consumers(), a.partitions(), a.members(), a.pending(),
		a.tail(), a.publish(), a.find(),
		a.skip(), a.dead(), a.delayed(), a.reset(), a.pause(), a.resume(), a.delete(),
		a.top(), a.check(), a.bench(), a.ui(), a.version(),
	)
	fixed := func(flag string, values []string) {
		err := root.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		if err != nil {
			panic(err)
		}
	}
	fixed("output", outputs)
	fixed("format", formats)
	checkArguments(root)
	return root
}

var outputs = []string{"table", "json"}

func (a *app) checkFlags() error {
	if !slices.Contains(outputs, a.output) {
		return usage("--output %s: it is table or json", a.output)
	}
	if _, err := formatOf(a.format); err != nil {
		return err
	}
	if a.hungAfter <= 0 {
		return usage("--hung-after %s: it must be positive", a.hungAfter)
	}
	return nil
}

// checkArguments makes wrong arguments of all commands an error of usage.
func checkArguments(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		checkArguments(sub)
	}
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err != nil && cmd.HasSubCommands() {
			return usage("%w (see %s --help)", err, cmd.CommandPath())
		}
		if err != nil {
			return usage("%s: %w: it is %q", strings.TrimPrefix(cmd.CommandPath(), "redisstream "), err, cmd.UseLine())
		}
		return nil
	}
}

// parent returns a command that only has others.
func parent(name, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}
