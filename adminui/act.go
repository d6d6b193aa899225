package adminui

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/admin"
)

const (
	actPath   = "act"
	formBytes = 1 << 20
	shownRows = 50 // of what an action is done to
)

// order is what a form asks for.
type order struct {
	action       Action
	topic, group string
	ids          []string // of dead letters: letterKey; nil: all that filter selects, up to through
	filter       filter
	through      string // the newest one that the confirmation page counted
	reason       string
	deadLetter   bool
	by           string
	dryRun       bool
}

// selects tells whether an order is for a dead letter.
func (o order) selects(letter admin.DeadLetter) bool {
	if o.ids != nil {
		return slices.Contains(o.ids, letterKey(o.topic, letter))
	}
	return o.through == "" || !later(letter.ID, o.through)
}

// row is something that an action is done to.
type row struct{ ID, UUID, About string }

// outcome is what an action did, or would do.
type outcome struct {
	N    int
	Rows []row // the first of them
	Last string
}

func (o *outcome) add(r row) {
	if len(o.Rows) < shownRows {
		o.Rows = append(o.Rows, r)
	}
	if o.Last == "" || later(r.ID, o.Last) {
		o.Last = r.ID
	}
}

// operation is how an action is done, and what pages say about it.
type operation struct {
	do   effect
	back string // the page that follows
	ask  string // the question, without what
	what string // what it is done to; empty: the group
	done string // what happened
	note string // what people should know before
}

var operations = map[Action]operation{
	Replay: {
		letters((*admin.Admin).ReplayDeadLetters), "dead", "Replay", "dead letter", "replayed to all groups of the topic",
		"They become new entries of the topic. All its groups get them, not only the one that gave them up.",
	},
	Retry: {
		letters((*admin.Admin).RetryDeadLetters), "dead", "Retry", "dead letter", "given back to the group that gave them up",
		"Only the group that gave them up gets them again. Their deliveries are counted from 0.",
	},
	Drop: {
		letters((*admin.Admin).DropDeadLetters), "dead", "Drop", "dead letter", "dropped",
		"They are deleted. Nobody can get them back.",
	},
	DropDelayed: {
		delayedMessages((*admin.Admin).DropDelayed), "delayed", "Drop", "delayed message", "dropped",
		"They are deleted. Nobody can get them back.",
	},
	DeliverDelayed: {
		delayedMessages((*admin.Admin).DeliverDelayed), "delayed", "Deliver now", "delayed message", "moved to the topic",
		"They become entries of the topic now, and their groups get them.",
	},
	Skip: {
		skipEntries, "pending", "Skip", "entry", "skipped",
		"They are acknowledged for this group. A handler that works on one goes on until its context ends.",
	},
	PauseGroup: {
		pauseGroup, "group", "Pause this group", "", "The group is paused. Its members stop reading within 2 seconds.",
		"All its members stop reading the topic within 2 seconds, in all processes, until someone resumes it. Handlers that run may finish.",
	},
	ResumeGroup: {
		resumeGroup, "group", "Resume this group", "", "The group is resumed. Its members go on within 2 seconds.",
		"Its members go on reading within 2 seconds.",
	},
}

// effect is what an action does to what an order selects.
type effect = func(ctx context.Context, a *admin.Admin, o order) (outcome, error)

// letters does something to dead letters.
func letters(
	do func(*admin.Admin, context.Context, string, func(admin.DeadLetter) bool, bool) (admin.Outcome, error),
) effect {
	return chosen(do, func(letter admin.DeadLetter, o order) (row, bool) {
		about := "group " + name(letter.Group) + ": " + name(letter.Reason)
		if letter.Stream != o.topic {
			about += ", in " + name(letter.Stream)
		}
		return row{letter.ID, letter.Message.UUID, about}, o.selects(letter) && o.filter.letter(letter)
	})
}

// delayedMessages does something to delayed messages that were selected one by one.
func delayedMessages(
	do func(*admin.Admin, context.Context, string, func(admin.Delayed) bool, bool) (admin.Outcome, error),
) effect {
	return chosen(do, func(message admin.Delayed, o order) (row, bool) {
		return row{message.ID, message.Message.UUID, "due " + stamp(message.Due) + " UTC"}, slices.Contains(o.ids, message.ID)
	})
}

// chosen does something to what an order selects. see returns the row of one, and whether it is selected.
func chosen[T any](
	do func(*admin.Admin, context.Context, string, func(T) bool, bool) (admin.Outcome, error), see func(T, order) (row, bool),
) effect {
	return func(ctx context.Context, a *admin.Admin, o order) (done outcome, err error) {
		result, err := do(a, ctx, o.topic, func(one T) bool {
			about, selected := see(one, o)
			if selected {
				done.add(about)
			}
			return selected
		}, o.dryRun)
		done.N = len(result.IDs)
		return done, err
	}
}

func skipEntries(ctx context.Context, a *admin.Admin, o order) (done outcome, err error) {
	result, err := a.Skip(ctx, o.topic, o.group, o.ids, admin.Skip{DeadLetter: o.deadLetter, Reason: o.reason, DryRun: o.dryRun})
	for _, id := range result.IDs {
		done.add(row{ID: id})
	}
	done.N = len(result.IDs)
	return done, err
}

func pauseGroup(ctx context.Context, a *admin.Admin, o order) (outcome, error) {
	return onGroup(ctx, a, o, func() error { return a.Pause(ctx, o.topic, o.group, o.by, o.reason) })
}

func resumeGroup(ctx context.Context, a *admin.Admin, o order) (outcome, error) {
	return onGroup(ctx, a, o, func() error { return a.Resume(ctx, o.topic, o.group) })
}

// onGroup does something to a group. A dry run tells what the group does.
func onGroup(ctx context.Context, a *admin.Admin, o order, do func() error) (outcome, error) {
	if !o.dryRun {
		return outcome{N: 1}, do()
	}
	group, err := a.Group(ctx, o.topic, o.group)
	about := fmt.Sprintf("%s; %s, %s pending, lag %s", group.Describe(), number(group.Members, "member"), count(group.Pending), group.Lag)
	return outcome{N: 1, Rows: []row{{About: about}}}, err
}

// confirmBody is the body of the page that asks before an action.
type confirmBody struct {
	Order   confirmed
	Outcome outcome
	Note    string
	More    int // rows that are not shown
	Button  string
	Cancel  string
	IsGroup bool
}

// confirmed are the fields of the form that says yes.
type confirmed struct {
	Action, Topic, Group, Query, Of, Through, Reason string
	IDs                                              []string
	DeadLetter                                       bool
}

// act answers the forms. The first one shows what would happen, the second one does it.
func (h *Handler) act(w http.ResponseWriter, r *request) error {
	if !h.config.Actions {
		return errReadOnly
	}
	if err := h.allow(r, Read); err != nil { // the confirmation page shows something
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, formBytes)
	if r.ParseForm() != nil {
		return badRequest("The form has a mistake, or is too large.")
	}
	if !h.ownForm(r.Request) {
		return errForged
	}
	o, operation, err := h.readOrder(r)
	if err != nil {
		return err
	}
	if err := h.allow(r, o.action); err != nil {
		return err
	}
	o.dryRun = r.PostForm.Get("confirm") == ""
	done, err := operation.do(r.ctx, h.config.Admin, o)
	if o.dryRun {
		if err != nil {
			return err
		}
		r.token = issueToken(w, r.Request)
		return h.render(w, r, http.StatusOK, confirmation(o, operation, done))
	}
	h.logAction(o, done, err)
	if err != nil {
		return &failure{status: explain(err).status, text: fmt.Sprintf("%s Until then it was done to %s.", explain(err).text, count(int64(done.N)))}
	}
	w.Header().Set("Location", operation.after(o, "done", string(o.action), "n", strconv.Itoa(done.N)))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// after returns the address of the page that follows.
func (op operation) after(o order, more ...string) string {
	return link(op.back, append([]string{"topic", o.topic, "group", o.group, "q", o.filter.Text, "of", o.filter.Group}, more...)...)
}

// readOrder reads a form.
func (h *Handler) readOrder(r *request) (order, operation, error) {
	form := r.PostForm
	o := order{
		action: Action(form.Get("action")), topic: value(form, "topic"), group: value(form, "group"), filter: filter{value(form, "q"), value(form, "of")},
		through: form.Get("through"), reason: form.Get("reason"), deadLetter: form.Get("dead-letter") != "", by: h.config.User(r.Request),
	}
	operation, found := operations[o.action]
	if !found {
		return o, operation, badRequest("There is no such action.")
	}
	if o.ids = values(form, "id"); form.Get("all") != "" {
		o.ids = nil
	} else if operation.what != "" && len(o.ids) == 0 {
		return o, operation, badRequest("Nothing is selected.")
	} else if o.ids != nil {
		o.filter = filter{} // a selection overrides the filter
	}
	if form.Get("confirm") != "" && form.Get("all") != "" && !isID(o.through) {
		return o, operation, badRequest("The form does not say which.")
	}
	return o, operation, nil
}

// confirmation is the page that asks.
func confirmation(o order, op operation, done outcome) page {
	body := confirmBody{
		Outcome: done, Note: op.note, More: done.N - len(done.Rows), Button: op.ask, Cancel: op.after(o), IsGroup: op.what == "",
		Order: confirmed{
			Action: string(o.action), Topic: o.topic, Group: o.group, Query: o.filter.Text, Of: o.filter.Group, Reason: o.reason,
			IDs: o.ids, DeadLetter: o.deadLetter,
		},
	}
	if o.ids == nil {
		body.Order.Through = done.Last
	}
	if op.what != "" {
		body.Button += " " + number(done.N, op.what)
	}
	return page{Title: body.Button + "?", Topic: o.topic, Group: o.group, Tab: op.back, view: "confirm", Body: body}
}

// notice returns what an action did, for the page that follows it.
func notice(r *request) string {
	operation, found := operations[Action(r.Form.Get("done"))]
	n, err := strconv.Atoi(r.Form.Get("n"))
	switch {
	case !found || err != nil || n < 0:
		return ""
	case operation.what == "":
		return operation.done
	case n == 1:
		return number(n, operation.what) + " was " + operation.done + "."
	default:
		return number(n, operation.what) + " were " + operation.done + "."
	}
}

func (h *Handler) logAction(o order, done outcome, err error) {
	fields := watermill.LogFields{"action": string(o.action), "topic": o.topic, "group": o.group, "count": done.N, "user": o.by}
	if err != nil {
		h.config.Logger.Error("An action of the web page failed", err, fields)
		return
	}
	h.config.Logger.Info("The web page did an action", fields)
}
