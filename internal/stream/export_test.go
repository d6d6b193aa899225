package stream

import "time"

// TrimSource is the text of the script that Trim runs.
var TrimSource = scriptSource("trim")

// HasForeignSource is the text of the script that HasForeign runs, without the fence.
var HasForeignSource = scriptSource("has_foreign")

// SetGrace sets how long the server may take to answer Interrupt.
func (g *Group) SetGrace(grace time.Duration) { g.readConn.(*privateConn).grace = grace }

// DecodeEntries decodes a reply to XREAD or XREADGROUP, as it is taken from a connection.
func DecodeEntries(reply []byte) ([]Entry, error) {
	var d decoder
	d.start(reply)
	return d.streams()
}

// LimitsReplies reports whether the server is taken for one that knows MAXSIZE.
func (g *Group) LimitsReplies() bool { return g.limited }

// AssumeLimits takes the server for one that knows MAXSIZE.
func (g *Group) AssumeLimits() { g.limited = true }

// LookForPause makes ReadAndLook and the like look at a key.
func (g *Group) LookForPause(key string) { g.pause = key }
