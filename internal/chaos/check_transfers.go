package main

import (
	"fmt"
	"strconv"
)

// checkTransfers checks a group that commits. Each entry with a transfer has exactly one event, and
// the balances are those of the events. The stream decides which entries there are: a message whose
// Publish was uncertain may be in it twice, and is two transfers then. Only a group that was
// destroyed makes a transfer again: its acknowledgements are gone.
func (h *history) checkTransfers(v *verdict, f *fates) {
	if !f.Commits {
		return
	}
	times := make(map[string]int, len(h.entries))
	for _, e := range h.transferred {
		times[e.id]++
	}
	for _, e := range h.entries {
		if what := h.wrongTransfer(f, e, times[e.id]); what != "" {
			v.transfers = append(v.transfers, fmt.Sprintf("entry %s (%s) in group %s, delivered %d times: %s",
				e.id, e.uuid, f.Name, len(f.byID[e.id]), what))
		}
	}
	for _, s := range f.members {
		for _, e := range s.events {
			if e.kind == notHeld {
				v.refused++
			}
		}
	}
	h.checkBalances(v)
}

// wrongTransfer describes what is wrong with the transfer of an entry, which has this number of
// events; empty: nothing.
func (h *history) wrongTransfer(f *fates, e entry, events int) string {
	if !f.transfers(e.uuid) {
		if events > 0 {
			return "an event, but it is no transfer"
		}
		return ""
	}
	list := f.byID[e.id]
	commits := 0
	for _, d := range list {
		if d.end == acked {
			commits++
		}
	}
	destroyed := during(h.destroyed[f.Name], list)
	switch {
	case events == 0:
		return "the transfer is lost"
	case events > 1+destroyed:
		return fmt.Sprintf("%d events, and the group was destroyed %d times meanwhile", events, destroyed)
	case commits > events && destroyed == 0 && during(h.jumps, list) == 0:
		// After a jump of the clock, a consumer can't know that its lease is over: if its reply is
		// lost, it takes the commit of another consumer for its own.
		return fmt.Sprintf("%d commits returned nil, but there are %d events", commits, events)
	default:
		return ""
	}
}

// during returns how many spans overlap the time between the first and the last of some deliveries.
func during(spans []span, list []*delivery) (n int) {
	for _, s := range spans {
		if len(list) > 0 && overlaps([]span{s}, list[0].at, list[len(list)-1].at) {
			n++
		}
	}
	return n
}

// checkBalances checks that the balances are the sums of the transfers that have an event.
func (h *history) checkBalances(v *verdict) {
	uuids := h.uuids()
	right := map[string]int64{}
	for _, e := range h.transferred {
		if uuid, there := uuids[e.id]; !there || uuid != e.uuid {
			v.transfers = append(v.transfers, fmt.Sprintf("an event of entry %s (%s), but the entry holds %q", e.id, e.uuid, uuid))
		}
		move := transferOf(e.uuid)
		right[move.from] -= move.amount
		right[move.to] += move.amount
	}
	for n := range accounts {
		account := strconv.Itoa(n)
		if h.balances[account] != right[account] {
			v.transfers = append(v.transfers, fmt.Sprintf("account %s has %d, but its events make %d", account, h.balances[account], right[account]))
		}
	}
}
