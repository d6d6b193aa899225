package main

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// work is what a handler is to do with a message; the publisher says so in its metadata, so that the same seed makes
// the same work.
type work struct {
	takes time.Duration
	once  bool  // takes so long only the first time
	nacks int64 // as long as it was delivered no more often
	heeds bool  // stops when its context ends, and nacks
	kills bool  // its own process, with SIGKILL
	// poison does nacks and kills only in groups that give messages up.
	poison bool
	until  time.Time // nacks before, in groups where keys fail
}

// in returns what is to be done in a group.
func (w work) in(g group) work {
	if w.poison && g.MaxDeliveries == 0 {
		w.nacks, w.kills = 0, false
	}
	if !g.FailingKeys {
		w.until = time.Time{}
	}
	return w
}

func (w work) message(uuid string, payload []byte) *message.Message {
	msg := message.NewMessage(uuid, payload)
	if w.takes > 0 {
		msg.Metadata.Set("takes", w.takes.String())
	}
	if w.once {
		msg.Metadata.Set("once", "yes")
	}
	if w.nacks > 0 {
		msg.Metadata.Set("nacks", strconv.FormatInt(w.nacks, 10))
	}
	if w.heeds {
		msg.Metadata.Set("heeds", "yes")
	}
	if w.kills {
		msg.Metadata.Set("kills", "yes")
	}
	if w.poison {
		msg.Metadata.Set("poison", "yes")
	}
	if !w.until.IsZero() {
		msg.Metadata.Set("until", w.until.Format(time.RFC3339Nano))
	}
	return msg
}

func workOf(msg *message.Message) work {
	takes, _ := time.ParseDuration(msg.Metadata.Get("takes"))       // 0 when there is none
	nacks, _ := strconv.ParseInt(msg.Metadata.Get("nacks"), 10, 64) // likewise
	is := func(key string) bool { return msg.Metadata.Get(key) != "" }
	until, _ := time.Parse(time.RFC3339Nano, msg.Metadata.Get("until"))
	return work{
		takes: takes, nacks: nacks, once: is("once"), heeds: is("heeds"), kills: is("kills"), poison: is("poison"), until: until,
	}
}
