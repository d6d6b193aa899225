package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	slots       = 16384
	shards      = 3
	nodeTimeout = "1000" // ms without a reply until a node counts as failed
)

// StartCluster starts a cluster of one server that holds all slots; it is stopped when the test
// ends.
func StartCluster(tb testing.TB) *Server {
	tb.Helper()
	server := Start(tb, clusterNode()...)
	client := server.admin(tb)
	if err := client.ClusterAddSlotsRange(context.Background(), 0, slots-1).Err(); err != nil {
		tb.Fatal(err)
	}
	await(tb, "the cluster on "+server.Addr, func() error { return client.Set(context.Background(), "probe", "", 0).Err() })
	return server
}

// clusterNode returns the arguments of a node. The port of the cluster bus is chosen, because the
// default (port + 10000) may be above 65535.
func clusterNode() []string {
	return []string{"--cluster-enabled", "yes", "--cluster-port", FreePort(), "--cluster-node-timeout", nodeTimeout}
}

// replicated starts replication without a delay. Frequent pings keep a replica recent: a node lists
// only replicas that have received something.
var replicated = []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--cluster-replica-validity-factor", "0"}

// Cluster is a cluster of three masters, each with one replica or none.
type Cluster struct {
	Nodes []*Server // the first three start as masters
	nodes map[string]*node
}

type node struct {
	*Server
	admin *redis.Client
	id    string
}

// StartFullCluster starts a cluster of three masters with a replica each; it is stopped when the
// test ends.
func StartFullCluster(tb testing.TB) *Cluster {
	tb.Helper()
	ctx := context.Background()
	c := &Cluster{nodes: map[string]*node{}}
	for range 2 * shards {
		c.add(tb, Start(tb, append(clusterNode(), replicated...)...))
	}
	c.introduce(tb)
	for i, server := range c.Nodes[shards:] {
		replica, master := c.nodes[server.Addr], c.nodes[c.Nodes[i].Addr]
		await(tb, "replication of "+master.Addr, func() error {
			return replica.admin.Do(ctx, "cluster", "replicate", master.id).Err()
		})
	}
	c.AwaitReady(tb)
	return c
}

// StartMasters starts a cluster of three masters without replicas. Their clocks have these offsets,
// as in StartWithClock. It is stopped when the test ends.
func StartMasters(tb testing.TB, offsets [shards]time.Duration, args ...string) *Cluster {
	tb.Helper()
	c := &Cluster{nodes: map[string]*node{}}
	for _, offset := range offsets {
		c.add(tb, StartWithClock(tb, offset, append(clusterNode(), args...)...))
	}
	c.introduce(tb)
	c.AwaitReady(tb)
	return c
}

func (c *Cluster) add(tb testing.TB, server *Server) {
	tb.Helper()
	n := &node{Server: server, admin: server.admin(tb)}
	n.id = n.admin.ClusterMyID(context.Background()).Val()
	c.Nodes, c.nodes[server.Addr] = append(c.Nodes, server), n
	// On a busy machine the reply may be late, and the client repeats the command. Nothing else
	// sets the epoch of a new node.
	err := n.admin.Do(context.Background(), "cluster", "set-config-epoch", len(c.Nodes)).Err()
	if err != nil && !strings.Contains(err.Error(), "already non-zero") {
		tb.Fatalf("set-config-epoch on %s: %v", n.Addr, err)
	}
}

// introduce assigns the slots to the first nodes and connects all nodes.
func (c *Cluster) introduce(tb testing.TB) {
	tb.Helper()
	first := c.nodes[c.Nodes[0].Addr]
	for i, server := range c.Nodes {
		n := c.nodes[server.Addr]
		if i < shards {
			n.must(tb, "cluster", "addslotsrange", i*slots/shards, (i+1)*slots/shards-1)
		}
		if n != first {
			host, port, _ := net.SplitHostPort(server.Addr)
			first.must(tb, "cluster", "meet", host, port, server.args[slices.Index(server.args, "--cluster-port")+1])
		}
	}
}

// AwaitReady waits until each node sees the whole cluster and accepts commands.
func (c *Cluster) AwaitReady(tb testing.TB) {
	tb.Helper()
	for _, n := range c.nodes {
		await(tb, "the cluster as seen by "+n.Addr, func() error { return n.ready(context.Background(), len(c.Nodes)) })
	}
}

// ready returns nil if the node sees a cluster of this size, and is connected to its replica or
// master.
func (n *node) ready(ctx context.Context, size int) error {
	view, err := n.admin.ClusterSlots(ctx).Result() //nolint:staticcheck // the command of go-redis
	if err != nil {
		return err
	}
	nodes := map[string]bool{}
	for _, slot := range view {
		for _, n := range slot.Nodes {
			nodes[n.Addr] = true
		}
	}
	info, err := n.admin.Info(ctx, "replication").Result()
	state := n.admin.ClusterInfo(ctx).Val()
	linked := size == shards || strings.Contains(info, "master_link_status:up") || strings.Contains(info, "state=online")
	if len(nodes) != size || !linked || !strings.Contains(state, "cluster_state:ok") {
		return errors.Join(err, fmt.Errorf("%d nodes in view, %s%s", len(nodes), state, info)) //nolint:err113 // for a reader
	}
	return nil
}

func (n *node) must(tb testing.TB, args ...any) {
	tb.Helper()
	if err := n.admin.Do(context.Background(), args...).Err(); err != nil {
		tb.Fatalf("%v on %s: %v", args, n.Addr, err)
	}
}

// Master returns the master of key that most nodes name.
func (c *Cluster) Master(tb testing.TB, key string) *Server {
	tb.Helper()
	var master *Server
	await(tb, "the master of "+key, func() error {
		votes := map[string]int{}
		for _, n := range c.nodes {
			if addr, err := n.masterOf(key); err == nil {
				votes[addr]++
			}
		}
		for addr, n := range votes {
			if n > shards-1 && c.nodes[addr] != nil {
				master = c.nodes[addr].Server
				return nil
			}
		}
		return fmt.Errorf("no majority: %v", votes) //nolint:err113 // for a reader
	})
	return master
}

// AwaitFailover returns the new master of key as soon as it accepts writes.
func (c *Cluster) AwaitFailover(tb testing.TB, key string, old *Server) *Server {
	tb.Helper()
	var master *Server
	await(tb, "a failover from "+old.Addr, func() error {
		for _, n := range c.nodes {
			addr, err := n.masterOf(key)
			if err != nil || addr != n.Addr || addr == old.Addr {
				continue // ask only the new master: the other nodes learn it later
			}
			if !strings.Contains(n.admin.ClusterInfo(context.Background()).Val(), "cluster_state:ok") {
				continue
			}
			master = n.Server
			return nil
		}
		return errNoFailover
	})
	return master
}

var errNoFailover = errors.New("no new master")

// masterOf returns the address of key's master, according to this node.
func (n *node) masterOf(key string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	slot, err := n.admin.ClusterKeySlot(ctx, key).Result()
	if err != nil {
		return "", err
	}
	view, err := n.admin.ClusterSlots(ctx).Result() //nolint:staticcheck // the command of go-redis
	if err != nil {
		return "", err
	}
	for _, s := range view {
		if s.Start <= int(slot) && int(slot) <= s.End && len(s.Nodes) > 0 {
			return s.Nodes[0].Addr, nil
		}
	}
	return "", fmt.Errorf("slot %d has no master", slot) //nolint:err113 // for a reader
}

// Other returns a master other than the one of key.
func (c *Cluster) Other(tb testing.TB, key string) *Server {
	tb.Helper()
	master := c.Master(tb, key)
	for _, server := range c.Nodes[:shards] {
		if server != master {
			return server
		}
	}
	panic("unreachable")
}

// Move moves a key's slot to another master, step by step.
type Move struct {
	tb       testing.TB
	cluster  *Cluster
	slot     int
	from, to *node
}

// BeginMove starts to move the slot of key to another master. From now on the old master redirects
// commands for keys that it does not have (ASK).
func (c *Cluster) BeginMove(tb testing.TB, key string, to *Server) *Move {
	tb.Helper()
	m := &Move{tb: tb, cluster: c, from: c.nodes[c.Master(tb, key).Addr], to: c.nodes[to.Addr]}
	m.slot = int(m.from.admin.ClusterKeySlot(context.Background(), key).Val())
	m.to.must(tb, "cluster", "setslot", m.slot, "importing", m.from.id)
	m.from.must(tb, "cluster", "setslot", m.slot, "migrating", m.to.id)
	return m
}

// Keys moves all keys of the slot (MIGRATE).
func (m *Move) Keys() {
	m.tb.Helper()
	for {
		keys, err := m.from.admin.ClusterGetKeysInSlot(context.Background(), m.slot, 100).Result()
		if err != nil {
			m.tb.Fatal(err)
		}
		if len(keys) == 0 {
			return
		}
		m.Key(keys...)
	}
}

// Key moves keys of the slot.
func (m *Move) Key(keys ...string) {
	m.tb.Helper()
	host, port, _ := net.SplitHostPort(m.to.Addr)
	args := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, key := range keys {
		args = append(args, key)
	}
	m.from.must(m.tb, args...)
}

// End makes the new master the owner of the slot.
func (m *Move) End() {
	m.tb.Helper()
	m.to.must(m.tb, "cluster", "setslot", m.slot, "node", m.to.id)
	m.from.must(m.tb, "cluster", "setslot", m.slot, "node", m.to.id)
}

// MoveSlot moves the slot of key, with its keys, to another master.
func (c *Cluster) MoveSlot(tb testing.TB, key string, to *Server) {
	tb.Helper()
	move := c.BeginMove(tb, key, to)
	move.Keys()
	move.End()
}

// Client returns a client with go-redis's defaults, changed by the functions. It is closed when the
// test ends.
func (c *Cluster) Client(tb testing.TB, change ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	tb.Helper()
	options := &redis.ClusterOptions{Addrs: addrs(c.Nodes)}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClusterClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// URL returns the URL for Connect.
func (c *Cluster) URL() string {
	return "redis://" + c.Nodes[0].Addr + "?addr=" + strings.Join(addrs(c.Nodes[1:]), "&addr=")
}

func addrs(servers []*Server) []string {
	list := make([]string, len(servers))
	for i, server := range servers {
		list[i] = server.Addr
	}
	return list
}

// admin returns a client with short time-outs: the server may be dead.
func (s *Server) admin(tb testing.TB) *redis.Client {
	tb.Helper()
	return s.Client(tb, func(o *redis.Options) {
		o.MaxRetries, o.DialerRetries, o.ReadTimeout, o.ContextTimeoutEnabled = -1, 1, 10*time.Second, true
	})
}

// await polls until ready returns nil.
func await(tb testing.TB, what string, ready func() error) {
	tb.Helper()
	if err := poll(what, ready); err != nil {
		tb.Fatal(err)
	}
}

// poll is await outside of a test.
func poll(what string, ready func() error) error {
	var err error
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = ready(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: timed out: %w", what, err)
}
