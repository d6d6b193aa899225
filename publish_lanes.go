package redisstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// A lane is the partitions of a topic that share pipelines: those on one server. So n partitions cost
// the client about as many round trips as there are servers.
type lane struct {
	name string       // of its publishQueue
	load atomic.Int64 // bytes queued and under way, and callLoad for each call
}

const (
	// callLoad stands for what a call costs beside its bytes.
	callLoad = 16 << 10
	// loadSlack is by how much the loads of lanes differ all the time, because few calls are under way.
	loadSlack = 4 * callLoad
)

// lanePlan is how a Publisher divides partitions into lanes.
type lanePlan int

const (
	laneOfTopic     lanePlan = iota // one server has all
	laneOfMaster                    // of a cluster
	laneOfPartition                 // pipelines belong to one stream
)

// plan returns the plan of a Publisher. Producers, WAIT and the clock of MaxAge belong to one stream.
// The servers of a Ring are not known by slots.
func (c PublisherConfig) plan() lanePlan {
	_, cluster := c.Client.(interface{ Options() *redis.ClusterOptions })
	switch {
	case c.Idempotent, c.DeduplicationWindow > 0, c.WaitReplicas > 0, c.MaxAge > 0:
		return laneOfPartition
	case !spreads(c.Client), c.Partitions == 1:
		return laneOfTopic
	case cluster:
		return laneOfMaster
	default:
		return laneOfPartition
	}
}

// laneTable has the lane of each partition.
type laneTable struct {
	all []*lane
	of  []int32 // by partition: its index in all
}

func (t *laneTable) laneOf(partition int) *lane { return t.all[t.of[partition]] }

// lanesAge is how long a table of masters is used. Until then a partition that moved to another master
// shares pipelines with those of its old one; the client sends each command to the right one.
const lanesAge = time.Second

// lanes are the lanes of a topic.
type lanes struct {
	table atomic.Pointer[laneTable]
	mu    sync.Mutex
	made  atomic.Int64 // when the table was made, in ns since the start
}

var start = time.Now()

// current returns the table; nil: there is none yet.
func (l *lanes) current() *laneTable { return l.table.Load() }

// lanesOf returns the lanes of a topic. The server must have agreed on the number of partitions: then
// the client knows the cluster.
func (t *partitionedTopic) lanesOf(client redis.UniversalClient) *laneTable {
	table := t.lanes.current()
	if table != nil && t.owner.plan != laneOfMaster {
		return table
	}
	now := int64(time.Since(start))
	if table != nil && now-t.lanes.made.Load() < int64(lanesAge) {
		return table
	}
	t.lanes.mu.Lock()
	defer t.lanes.mu.Unlock()
	if newer := t.lanes.current(); newer != table { // made meanwhile
		return newer
	}
	t.lanes.made.Store(now)
	table = t.newLanes(client, table)
	t.lanes.table.Store(table)
	return table
}

// newLanes returns a new table. A lane with the same name as before is the same lane.
func (t *partitionedTopic) newLanes(client redis.UniversalClient, before *laneTable) *laneTable {
	byName := make(map[string]*lane)
	if before != nil {
		for _, lane := range before.all {
			byName[lane.name] = lane
		}
	}
	table, index := &laneTable{of: make([]int32, len(t.streams))}, make(map[string]int32)
	for partition := range t.streams {
		name := t.laneName(client, partition)
		i, known := index[name]
		if !known {
			i = int32(len(table.all)) //nolint:gosec // at most MaxPartitions
			index[name] = i
			if byName[name] == nil {
				byName[name] = &lane{name: name}
			}
			table.all = append(table.all, byName[name])
		}
		table.of[partition] = i
	}
	return table
}

// laneName returns the name of the lane of a partition. No two topics have lanes with the same name.
func (t *partitionedTopic) laneName(client redis.UniversalClient, partition int) string {
	key := t.streams[partition].Name()
	switch t.owner.plan {
	case laneOfTopic:
		return t.name
	case laneOfMaster:
		if master := stream.MasterOf(context.Background(), client, key); master != "" {
			return t.name + ":{" + master
		}
	case laneOfPartition:
	}
	return key
}
