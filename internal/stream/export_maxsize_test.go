package stream

// LimitsReplies reports whether the server is taken for one that knows MAXSIZE.
func (g *Group) LimitsReplies() bool { return g.limited }

// AssumeLimits takes the server for one that knows MAXSIZE.
func (g *Group) AssumeLimits() { g.limited = true }
