package admin

import (
	"cmp"

	"github.com/millrace/redisstream/internal/stream"
)

// blockedDeliveries is from which delivery count on the oldest pending entry of a group whose members
// don't report counts as one that blocks others.
const blockedDeliveries = 5

// addMembers adds what the consumers of a group say.
func (a *Admin) addMembers(g *Group, r stream.GroupReport) {
	g.Consumers = len(r.Members.Consumers)
	others := g.Pending > 1 || waiting(*g)
	reports := false
	for _, state := range r.Members.Consumers {
		c := a.consumerOf(state, r.Members.Now)
		if c.State == ConsumerDead {
			continue
		}
		g.Members++
		if c.State == ConsumerHung {
			g.Hung++
		}
		reports = reports || c.Reports
		if c.Reports && state.Record.Blocking && others {
			g.BlockedBy = cmp.Or(g.BlockedBy, blocker(c))
		}
	}
	if !reports && r.Oldest.Deliveries >= blockedDeliveries && waiting(*g) {
		g.BlockedBy = r.Oldest.ID
	}
}

// blocker returns the entry that blocks a strict consumer: it failed at least once.
func blocker(c Consumer) string {
	switch {
	case len(c.Held) > 0 && c.Held[0].Deliveries > 1:
		return c.Held[0].ID
	case len(c.Held) == 0 && len(c.Failing) > 0:
		return c.Failing[0].ID
	default:
		return ""
	}
}

// waiting reports whether entries may wait that no consumer has got.
func waiting(g Group) bool { return g.Lag.N > 0 || g.Lag.Exact == LagUnknown }

// markTrimming marks the groups whose oldest entry that is not acknowledged is the oldest of all. A
// pending entry counts also if it is no longer in the stream: trimming stops there.
func markTrimming(groups []Group, reports []stream.GroupReport) {
	oldest := ""
	open := make([]string, len(groups)) // the first entry that each group has not acknowledged
	for i, r := range reports {
		open[i] = older(r.Unread, r.OldestPending.ID)
		oldest = older(open[i], oldest)
	}
	for i := range groups {
		groups[i].BlocksTrimming = open[i] != "" && open[i] == oldest
	}
}

// older returns the older one of two IDs; an empty one is none.
func older(a, b string) string {
	if b == "" || a != "" && stream.Precedes(a, b) {
		return a
	}
	return b
}

// stateOf returns the first state that applies.
func stateOf(g Group) GroupState {
	open := waiting(g) || g.Pending > 0 || g.Parked > 0
	switch {
	case g.Paused != nil:
		return GroupPaused
	case g.Members == 0 && open:
		return GroupAbandoned
	case g.Hung > 0:
		return GroupHung
	case g.BlockedBy != "":
		return GroupBlocked
	case open:
		return GroupWorking
	default:
		return GroupIdle
	}
}
