package main

import "time"

func slowLinkWorks() []work {
	const delay = time.Millisecond
	return []work{
		{
			delay: delay,
			rows:  []row{{"1 ms away: 1 strict subscription on a backlog", perSecond, []want{{peer, 50}}}},
			by:    entrants{draining(ourLibrary, 1), draining(peerLibrary, 1), drainingByHand},
		},
		{
			delay: delay,
			rows: []row{
				{"1 ms away: Publish of 1, 16 goroutines", perSecond, []want{{peer, 1}}},
				{"1 ms away: Publish of 1, 16 goroutines, p50 of a call", duration, []want{{peer, 1.2}}},
			},
			by: entrants{ours: publishing(ourLibrary, 1, 16), peer: publishing(peerLibrary, 1, 16)},
		},
	}
}
