package main

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// work is what a handler does with a message. The publisher writes it to the metadata, so that the
// same seed makes the same work.
type work struct {
	takes time.Duration
	once  bool  // takes is for the first delivery only
	nacks int64 // the first deliveries, of this number, are nacked
	heeds bool  // stops and nacks when its context ends
	kills bool  // kills its own process with SIGKILL
	// poison restricts nacks and kills to groups with a delivery limit.
	poison bool
	until  time.Time // nacks until then, in groups where keys fail
}

// in returns the work in a group.
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
	takes, _ := time.ParseDuration(msg.Metadata.Get("takes"))       // 0 if missing
	nacks, _ := strconv.ParseInt(msg.Metadata.Get("nacks"), 10, 64) // 0 if missing
	is := func(key string) bool { return msg.Metadata.Get(key) != "" }
	until, _ := time.Parse(time.RFC3339Nano, msg.Metadata.Get("until"))
	return work{
		takes: takes, nacks: nacks, once: is("once"), heeds: is("heeds"), kills: is("kills"), poison: is("poison"), until: until,
	}
}
