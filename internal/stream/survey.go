package stream

import (
	"cmp"
	"context"

	"github.com/redis/go-redis/v9"
)

// Surveyed is a stream to survey.
type Surveyed struct {
	InspectedKeys

	Groups int // how many groups it has, about
}

// TopicReport is the state of a stream and of its groups. Err: why it is not known.
type TopicReport struct {
	State  State
	Groups []GroupReport
	Err    error
}

// GroupReport is the state of a group and of its consumers.
type GroupReport struct {
	GroupState

	Members       GroupConsumers
	Counted       Lag
	MaxDeliveries int64 // the highest delivery count of the 1,000 oldest pending entries
}

// groupRef names a group of a stream.
type groupRef struct {
	*Inspection

	group     string
	consumers int   // how many it has, about
	pending   int64 // how many pending entries it has, about
}

// Survey returns the state of streams and of their groups, all together in few round trips.
func Survey(ctx context.Context, client redis.UniversalClient, streams []Surveyed) []TopicReport {
	inspections := make([]*Inspection, len(streams))
	for i, s := range streams {
		inspections[i] = Inspect(client, s.InspectedKeys)
	}
	listed := groupsOf(ctx, client, inspections, "", func(n int) int { return streams[n].Groups })
	var refs []groupRef
	var states []GroupState
	for i, list := range listed {
		for _, g := range list.Groups {
			refs = append(refs, groupRef{inspections[i], g.Name, g.Consumers, g.Pending})
			states = append(states, g)
		}
	}
	deliveries, deliveriesErrs := maxDeliveries(ctx, client, refs)
	consumers := consumersOf(ctx, client, refs)
	lags, lagErrs := lagsOf(ctx, client, refs, states)
	reports, n := make([]TopicReport, len(streams)), 0
	for i, list := range listed {
		report := TopicReport{State: list.State, Err: list.Err}
		for range list.Groups {
			report.Err = cmp.Or(report.Err, deliveriesErrs[n], consumers[n].Err, lagErrs[n])
			report.Groups = append(report.Groups, GroupReport{states[n], consumers[n], lags[n], deliveries[n]})
			n++
		}
		reports[i] = report
	}
	return reports
}
