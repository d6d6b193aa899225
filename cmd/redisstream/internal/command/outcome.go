package command

import (
	"fmt"
	"strings"

	"github.com/millrace/redisstream/admin"
)

// shownIDs is how many IDs people see.
const shownIDs = 10

type outcomeView struct {
	Action string   `json:"action"`
	DryRun bool     `json:"dry_run"`
	Count  int      `json:"count"`
	IDs    []string `json:"ids"`
}

// outcome reports what was done to entries: done is as "dropped", things as "dead letter".
func (a *app) outcome(done, thing string, o admin.Outcome) error {
	v := outcomeView{Action: done, DryRun: o.DryRun, Count: len(o.IDs), IDs: o.IDs}
	if v.IDs == nil {
		v.IDs = []string{}
	}
	begin := ""
	if o.DryRun {
		begin = "Dry run: would have "
	}
	line := capitalised(fmt.Sprintf("%s%s %s", begin, done, count(len(o.IDs), thing)))
	if len(o.IDs) > 0 {
		line += ": " + strings.Join(o.IDs[:min(len(o.IDs), shownIDs)], " ")
	}
	if more := len(o.IDs) - shownIDs; more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	return a.write(v, line)
}

func capitalised(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
