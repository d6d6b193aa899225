package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxItemFields is how many names and values an item can have: Lua passes on about 8,000 words.
const maxItemFields = 6990

// ErrTooManyItemFields is the error for an entry with too many fields to be an item.
var ErrTooManyItemFields = fmt.Errorf("an entry with more than %d fields can't be published with Idempotent or DeduplicationWindow", maxItemFields/2)

// CheckItem returns an error if the request can't be one of a pipeline with a Producer.
func (a *AddRequest) CheckItem() error {
	if len(a.Fields.Fields()) > maxItemFields {
		return ErrTooManyItemFields
	}
	return nil
}

// addItems is addOnce, and also tries another way where the server does not know the first: the
// source of the script, or the script instead of XADD IDMP.
func (a *Adder) addItems(ctx context.Context, key Key, requests []*AddRequest) {
	if requests[0].item == nil {
		a.addOnce(ctx, key, requests)
		return
	}
	a.attempt(ctx, key, requests)
	if requests[0].lacksIDMP() && !requests[0].item.uncertain {
		for _, request := range requests {
			request.item.producer.idmp = false
			request.renew(true)
		}
		a.attempt(ctx, key, requests)
	}
}

func (a *Adder) attempt(ctx context.Context, key Key, requests []*AddRequest) {
	for _, request := range requests {
		request.item.answered = false
	}
	a.addOnce(ctx, key, requests)
	if redis.HasErrorPrefix(requests[0].Err, "NOSCRIPT") {
		requests[0].item.producer.source = true
		a.addOnce(ctx, key, requests)
		requests[0].item.producer.source = false
	}
	for _, request := range requests {
		request.item.observe(request)
	}
}

// scripted reports whether the requests of a pipeline go in one call of the script.
func scripted(requests []*AddRequest) bool {
	return requests[0].item != nil && requests[0].item.scripted
}

// idempotent returns the arguments of XADD IDMP.
func (a *AddRequest) idempotent(key Key) []any {
	producer, number := a.item.producerID(), a.item.number
	switch {
	case a.MaxLen > 0:
		return a.Fields.command("xadd", key.argument, "idmp", producer, number, "maxlen", "~", a.MaxLen, (*newID)(a))
	case a.minID > 0:
		return a.Fields.command("xadd", key.argument, "idmp", producer, number, "minid", "~", a.minID, (*newID)(a))
	default:
		return a.Fields.command("xadd", key.argument, "idmp", producer, number, (*newID)(a))
	}
}

// publishCommand returns the call of the script for the requests. Its first argument marks all of
// them as written.
func publishCommand(ctx context.Context, key Key, requests []*AddRequest) once {
	first := requests[0]
	p := first.item.producer
	size := 16
	for _, request := range requests {
		size += 9 + len(request.Fields.Fields())
	}
	keys, args := make([]any, 0, 3), make([]any, 0, size)
	keys = append(keys, key.argument, p.key)
	for _, request := range requests {
		if request.Later != nil {
			keys = append(keys, request.Later.Key)
			break
		}
	}
	last := requests[len(requests)-1].item.number
	args = append(args, (*newID)(first), itemMemory.Milliseconds(), max(p.window.Milliseconds(), 1), flag(!p.asked), last)
	for _, request := range requests {
		place := 0
		if request.DeduplicationKey != "" {
			keys = append(keys, request.DeduplicationKey)
			place = len(keys)
		}
		args = append(args, request.item.number, place)
		args = request.words(args)
	}
	command, script := "evalsha", publishScript.Hash()
	if p.source {
		command, script = "eval", publishSource
	}
	all := append(append(make([]any, 0, 3+len(keys)+len(args)), command, script, len(keys)), keys...)
	first.last = redis.NewStringCmd(ctx, append(all, args...)...)
	return once{first.last}
}

// words appends the number of the request's words and the words, for the script.
func (a *AddRequest) words(args []any) []any {
	if a.Later != nil {
		return append(args, 2, waitMilliseconds(a.Later.Delay), a.Later.entry)
	}
	fields := a.Fields.Fields()
	switch {
	case a.MaxLen > 0:
		args = append(args, 4+len(fields), "maxlen", "~", a.MaxLen)
	case a.minID > 0:
		args = append(args, 4+len(fields), "minid", "~", a.minID)
	default:
		args = append(args, 1+len(fields))
	}
	return append(append(args, "*"), fields...)
}

var errScriptReply = errors.New("unexpected reply of the publish script")

// settleScript sets the result of each request from the reply of the script.
func settleScript(requests []*AddRequest, command once, err error, behind *tail) {
	reply := command.Val()
	if reply == "" {
		err = firstOf(command.Err(), err, errNoReply)
		last := behind == nil || !behind.written
		for _, request := range requests {
			request.written = requests[0].written
			request.Err = request.reached(request.explained(err), last)
		}
		return
	}
	head, rest, _ := strings.Cut(reply, "\n")
	requests[0].item.producer.learn(head)
	for _, request := range requests {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		request.written = true
		request.settleLine(line)
	}
}

// settleLine sets the result from the script's line for the request.
func (a *AddRequest) settleLine(line string) {
	a.ID, a.Err, a.item.answered = "", nil, true
	switch {
	case strings.HasPrefix(line, "+"):
		a.ID = line[1:]
	case line == "=":
	case line == "*":
		a.item.duplicate = true
	case strings.HasPrefix(line, "-"):
		a.Err = ownError(line[1:])
	default:
		a.Err, a.item.answered = errScriptReply, false
	}
}

// learn reads whether the server has XADD IDMP, and remembers as much as by default.
func (p *Producer) learn(head string) {
	if p.asked {
		return
	}
	var version, seconds, items int64
	_, _ = fmt.Sscan(head, &version, &seconds, &items) // without numbers there is none
	p.asked = true
	p.idmp = version >= leastIDMP && time.Duration(seconds)*time.Second >= itemMemory && items >= itemWindow
}

// longest returns how many bytes the longest name or value has.
func longest(requests []*AddRequest) (bytes int) {
	for _, request := range requests {
		_, n := request.Fields.Sizes()
		if request.Later != nil {
			n = max(n, len(request.Later.entry))
		}
		bytes = max(bytes, n)
	}
	return bytes
}
