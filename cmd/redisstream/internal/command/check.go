package command

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
	"github.com/spf13/cobra"
)

// probe marks a command with the exit codes of monitoring plugins.
const probe = "probe"

// severity is the state of a monitoring plugin; its number is the exit code.
type severity int

const (
	severityOK severity = iota
	severityWarning
	severityCritical
	severityUnknown
)

var severities = []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

func (s severity) String() string { return severities[s] }

// worse reports whether s matters more than t: CRITICAL, WARNING, UNKNOWN, OK.
func (s severity) worse(t severity) bool {
	order := [...]int{severityOK: 0, severityUnknown: 1, severityWarning: 2, severityCritical: 3}
	return order[s] > order[t]
}

// verdict carries the severity of a check to its exit code.
type verdict severity

func (v verdict) Error() string { return severity(v).String() }

// endCheck returns the exit code of check. What went wrong is UNKNOWN, on Out, where monitoring looks.
func (a *app) endCheck(err error) int {
	var v verdict
	switch {
	case err == nil:
		return int(severityOK) // also of --help
	case errors.As(err, &v):
		return int(v)
	}
	_, _ = fmt.Fprintf(a.Out, "%s: %s\n", severityUnknown, plugin(err.Error()))
	return int(severityUnknown)
}

// plugin makes a text fit for the line of a plugin, in which "|" begins the performance data.
func plugin(s string) string { return strings.ReplaceAll(text.Printable(s), "|", "¦") }

// thresholds are limits of one value; 0 or less: there is none.
type thresholds struct{ warn, crit float64 }

func (t thresholds) of(value float64) severity {
	switch {
	case t.crit > 0 && value >= t.crit:
		return severityCritical
	case t.warn > 0 && value >= t.warn:
		return severityWarning
	default:
		return severityOK
	}
}

// text returns a limit for the performance data.
func (t thresholds) text() string {
	limit := func(f float64) string {
		if f <= 0 {
			return ""
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return limit(t.warn) + ";" + limit(t.crit)
}

// checkFlags are the flags of check.
type checkFlags struct {
	lagWarn, lagCrit         int64
	deadWarn, deadCrit       int64
	hungWarn, hungCrit       int
	membersWarn, membersCrit int
	oldestWarn, oldestCrit   durationFlag
	paused                   string
}

func (a *app) check() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check TOPIC [GROUP...]",
		Short: "Check a topic and its groups for a monitoring system",
		Long: `Check a topic and its groups for a monitoring system. It writes one line with performance data.

Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (also of all errors). Without a GROUP it checks all
groups. A limit of 0 is none. A lag that is not known is UNKNOWN where it has a limit; one that is "at
most" a number counts as that number.`,
		Example:           "  redisstream check orders kitchen --lag-crit 10000 --oldest-warn 1m --oldest-crit 10m --dead-warn 1",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeCheck,
		Annotations:       map[string]string{probe: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			paused, ok := map[string]severity{"ok": severityOK, "warning": severityWarning, "critical": severityCritical}[f.paused]
			if !ok {
				return usage("--paused %s: it is ok, warning or critical", f.paused)
			}
			return a.asking(cmd.Context(), func(ctx context.Context, s *server) error {
				r := &checkReport{flags: f, paused: paused}
				if err := r.check(ctx, s, args[0], args[1:]); err != nil {
					return err
				}
				return a.endReport(r)
			})
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.lagWarn, "lag-warn", 0, "WARNING from this lag on")
	flags.Int64Var(&f.lagCrit, "lag-crit", 0, "CRITICAL from this lag on")
	flags.Var(&f.oldestWarn, "oldest-warn", "WARNING from this age of the oldest unhandled entry on")
	flags.Var(&f.oldestCrit, "oldest-crit", "CRITICAL from this age of the oldest unhandled entry on")
	flags.Int64Var(&f.deadWarn, "dead-warn", 0, "WARNING from this number of dead letters on")
	flags.Int64Var(&f.deadCrit, "dead-crit", 0, "CRITICAL from this number of dead letters on")
	flags.IntVar(&f.hungWarn, "hung-warn", 0, "WARNING from this number of members with a hung handler on")
	flags.IntVar(&f.hungCrit, "hung-crit", 1, "CRITICAL from this number of members with a hung handler on")
	flags.IntVar(&f.membersWarn, "members-warn", 0, "WARNING with fewer live members")
	flags.IntVar(&f.membersCrit, "members-crit", 1, "CRITICAL with fewer live members")
	flags.StringVar(&f.paused, "paused", "warning", "`SEVERITY` of a paused group: ok, warning or critical")
	return cmd
}

// completeCheck completes a topic and then any number of its groups.
func (a *app) completeCheck(cmd *cobra.Command, args []string, begin string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.complete(2)(cmd, args[:min(len(args), 1)], begin)
}

// checkReport is what check found.
type checkReport struct {
	flags    checkFlags
	paused   severity
	severity severity
	problems []string
	perfdata []string

	view checkView
}

type checkView struct {
	Status   string      `json:"status"`
	Problems []string    `json:"problems"`
	Topic    string      `json:"topic"`
	Dead     int64       `json:"dead_letters"`
	Groups   []groupView `json:"groups"`
}

func (r *checkReport) check(ctx context.Context, s *server, name string, groups []string) error {
	topic, err := s.Topic(ctx, name)
	if err != nil {
		return err
	}
	checked, err := s.groupsNamed(ctx, name, groups)
	if err != nil {
		return err
	}
	r.view = checkView{Topic: name, Dead: topic.DeadLetters, Groups: []groupView{}}
	r.measure("dead_letters", float64(topic.DeadLetters), thresholds{float64(r.flags.deadWarn), float64(r.flags.deadCrit)}, "",
		count(int(topic.DeadLetters), "dead letter"))
	for _, g := range checked {
		r.view.Groups = append(r.view.Groups, viewGroup(g))
		r.group(g)
	}
	if len(checked) == 0 {
		r.problem(severityUnknown, name+" has no group")
	}
	return nil
}

func (s *server) groupsNamed(ctx context.Context, topic string, names []string) (groups []admin.Group, _ error) {
	if len(names) == 0 {
		return s.Groups(ctx, topic)
	}
	for _, name := range names {
		g, err := s.Group(ctx, topic, name)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func (r *checkReport) group(g admin.Group) {
	f := r.flags
	lag := thresholds{float64(f.lagWarn), float64(f.lagCrit)}
	if g.Lag.Exact != admin.LagUnknown {
		r.measure(g.Name+" lag", float64(g.Lag.N), lag, "", fmt.Sprintf("%s: lag %s", g.Name, g.Lag))
	} else if lag.warn > 0 || lag.crit > 0 {
		r.problem(severityUnknown, g.Name+": lag unknown")
	}
	oldest := thresholds{time.Duration(f.oldestWarn).Seconds(), time.Duration(f.oldestCrit).Seconds()}
	r.measure(g.Name+" oldest", seconds(g.OldestAge), oldest, "s",
		fmt.Sprintf("%s: oldest unhandled entry %s (%s)", g.Name, g.OldestID, text.Age(g.OldestAge)))
	r.measure(g.Name+" hung", float64(g.Hung), thresholds{float64(f.hungWarn), float64(f.hungCrit)}, "",
		fmt.Sprintf("%s: %s with a hung handler", g.Name, count(g.Hung, "member")))
	switch few := fmt.Sprintf("%s: %s", g.Name, count(g.Members, "live member")); {
	case g.Members < f.membersCrit:
		r.problem(severityCritical, few)
	case g.Members < f.membersWarn:
		r.problem(severityWarning, few)
	}
	r.perfdata = append(r.perfdata, fmt.Sprintf("%s=%d;%s;%s;0", label(g.Name+" members"), g.Members, atLeast(f.membersWarn), atLeast(f.membersCrit)))
	if g.Paused != nil {
		r.problem(r.paused, fmt.Sprintf("%s: paused by %s: %s", g.Name, g.Paused.By, g.Paused.Reason))
	}
}

// atLeast returns the range of performance data in which a value is good.
func atLeast(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n) + ":"
}

// measure compares a value with its limits. problem is how to say that it is over one.
func (r *checkReport) measure(name string, value float64, limits thresholds, unit, problem string) {
	r.perfdata = append(r.perfdata, fmt.Sprintf("%s=%s%s;%s;0", label(name), strconv.FormatFloat(value, 'f', -1, 64), unit, limits.text()))
	if s := limits.of(value); s != severityOK {
		r.problem(s, problem)
	}
}

// label quotes a label of performance data, which may contain neither "'" nor "=".
func label(name string) string {
	return "'" + strings.NewReplacer("'", "_", "=", "_").Replace(plugin(name)) + "'"
}

func (r *checkReport) problem(s severity, what string) {
	if s == severityOK {
		return
	}
	r.problems = append(r.problems, fmt.Sprintf("%s (%s)", what, s))
	if s.worse(r.severity) {
		r.severity = s
	}
}

func (a *app) endReport(r *checkReport) error {
	r.view.Status, r.view.Problems = r.severity.String(), append([]string{}, r.problems...)
	summary := strings.Join(r.problems, ", ")
	if summary == "" {
		names := make([]string, len(r.view.Groups))
		for i, g := range r.view.Groups {
			names[i] = fmt.Sprintf("%s: lag %s, oldest %s", g.Group, g.lag, g.oldestAge())
		}
		summary = strings.Join(names, ", ")
	}
	line := fmt.Sprintf("%s: %s: %s | %s", r.severity, plugin(r.view.Topic), plugin(summary), strings.Join(r.perfdata, " "))
	if err := a.write(r.view, line); err != nil {
		return err
	}
	if r.severity == severityOK {
		return nil
	}
	return verdict(r.severity)
}
