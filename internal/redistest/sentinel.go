package redistest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// StartSentinel starts a Sentinel that watches master under a name. The lines are added to its
// configuration. It is stopped when the test ends.
func StartSentinel(tb testing.TB, name string, master *Server, lines ...string) *Server {
	tb.Helper()
	server := newSentinel(tb)
	server.watch(tb, name, master, 1, lines)
	return server
}

func newSentinel(tb testing.TB) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		tb.Fatal(err)
	}
	server := &Server{Addr: "127.0.0.1:" + FreePort(), Dir: dir}
	tb.Cleanup(server.Remove)
	return server
}

// watch starts a Sentinel that watches master.
func (s *Server) watch(tb testing.TB, name string, master *Server, quorum int, lines []string) {
	tb.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	config := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\npidfile %s\nlogfile %s\ndaemonize yes\nsentinel monitor %s %s %d\n",
		port, s.Dir, s.pidfile(), s.logfile(), name, spaced(master.Addr), quorum)
	config += strings.Join(lines, "\n") + "\n"
	file := filepath.Join(s.Dir, "sentinel.conf") // Sentinel rewrites it
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.args = []string{file, "--sentinel"}
	if err := s.start(); err != nil {
		log, _ := os.ReadFile(s.logfile())
		tb.Fatalf("%v\n%s", err, log)
	}
}

// spaced returns an address in the notation of configuration files: "host port".
func spaced(addr string) string { return strings.Replace(addr, ":", " ", 1) }

// SentinelSet is a master with two replicas. Three Sentinels watch it under the name MasterName.
type SentinelSet struct {
	Servers   []*Server // the first starts as the master
	Sentinels []*Server
}

// MasterName is the name of the master of a SentinelSet.
const MasterName = "mymaster"

// StartSentinelSet starts a master, two replicas and three Sentinels. Two Sentinels must agree on a
// failover. It is stopped when the test ends.
func StartSentinelSet(tb testing.TB) *SentinelSet {
	tb.Helper()
	set := &SentinelSet{Servers: []*Server{Start(tb, "--repl-diskless-sync-delay", "0")}}
	master := set.Servers[0]
	lines := []string{
		"sentinel down-after-milliseconds " + MasterName + " 1000",
		"sentinel failover-timeout " + MasterName + " 3000",
	}
	for range 2 {
		replica := StartReplica(tb, master)
		set.Servers = append(set.Servers, replica)
		lines = append(lines, "sentinel known-replica "+MasterName+" "+spaced(replica.Addr))
	}
	set.introduceSentinels(tb, lines)
	for _, sentinel := range set.Sentinels {
		client := sentinel.sentinelClient(tb)
		await(tb, "the quorum of "+sentinel.Addr, func() error { return client.CkQuorum(context.Background(), MasterName).Err() })
	}
	return set
}

// StartReplica starts a replica, and returns when it has the data of its master. It is stopped when
// the test ends. Start the master with "--repl-diskless-sync-delay", "0": otherwise it waits for
// more replicas.
func StartReplica(tb testing.TB, master *Server) *Server {
	tb.Helper()
	replica := Start(tb, "--replicaof", spaced(master.Addr), "--repl-diskless-sync-delay", "0")
	admin := master.admin(tb)
	_, port, _ := net.SplitHostPort(replica.Addr)
	await(tb, "replication to "+replica.Addr, func() error {
		if info := admin.Info(context.Background(), "replication").Val(); !strings.Contains(info, "port="+port+",state=online") {
			return errors.New(info) //nolint:err113 // for a reader
		}
		return nil
	})
	return replica
}

// introduceSentinels starts three Sentinels that are configured to know each other, because
// discovery takes seconds.
func (s *SentinelSet) introduceSentinels(tb testing.TB, lines []string) {
	tb.Helper()
	var ids, known []string
	for range 3 {
		sentinel := newSentinel(tb)
		id := make([]byte, 20)
		_, _ = rand.Read(id)
		ids = append(ids, hex.EncodeToString(id))
		known = append(known, "sentinel known-sentinel "+MasterName+" "+spaced(sentinel.Addr)+" "+ids[len(ids)-1])
		s.Sentinels = append(s.Sentinels, sentinel)
	}
	for i, sentinel := range s.Sentinels {
		own := append([]string{"sentinel myid " + ids[i]}, lines...)
		for j := range known {
			if i != j {
				own = append(own, known[j])
			}
		}
		sentinel.watch(tb, MasterName, s.Servers[0], 2, own)
	}
}

func (s *Server) sentinelClient(tb testing.TB) *redis.SentinelClient {
	tb.Helper()
	client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, ReadTimeout: 10 * time.Second})
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Master returns the master that the first Sentinel reports.
func (s *SentinelSet) Master(tb testing.TB) *Server {
	tb.Helper()
	var master *Server
	client := s.Sentinels[0].sentinelClient(tb)
	await(tb, "the master", func() (err error) {
		master, err = s.ask(client)
		return err
	})
	return master
}

// AwaitFailover returns the new master as soon as a Sentinel reports it.
func (s *SentinelSet) AwaitFailover(tb testing.TB, old *Server) *Server {
	tb.Helper()
	var master *Server
	clients := make([]*redis.SentinelClient, len(s.Sentinels))
	for i, sentinel := range s.Sentinels {
		clients[i] = sentinel.sentinelClient(tb)
	}
	await(tb, "a failover from "+old.Addr, func() (err error) {
		for _, client := range clients {
			if master, err = s.ask(client); err == nil && master != old {
				return nil
			}
		}
		return errNoFailover
	})
	return master
}

func (s *SentinelSet) ask(client *redis.SentinelClient) (*Server, error) {
	addr, err := client.GetMasterAddrByName(context.Background(), MasterName).Result()
	if err != nil {
		return nil, err
	}
	for _, server := range s.Servers {
		if server.Addr == net.JoinHostPort(addr[0], addr[1]) {
			return server, nil
		}
	}
	return nil, fmt.Errorf("unknown master %v", addr) //nolint:err113 // for a reader
}

// URL returns the URL for Connect.
func (s *SentinelSet) URL() string {
	return "redis://" + s.Sentinels[0].Addr + "?master_name=" + MasterName + "&addr=" + strings.Join(addrs(s.Sentinels[1:]), "&addr=")
}
