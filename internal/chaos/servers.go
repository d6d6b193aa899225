package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
)

// masters is how many servers a cluster has.
const masters = 3

// servers are the server of a run, or the masters of its cluster. What goes wrong with them goes wrong one at a time.
type servers struct {
	// mu is held while something is wrong with one of them, until it is healed.
	mu      sync.Mutex
	all     []*redistest.Server
	cluster *redistest.Cluster // nil: there is one server
	outside redistest.Outside
	clocks  []time.Duration // of each
	home    int             // which has the topic
}

// launchServers starts one server, whose clock is right at first, or a cluster whose clocks are apart.
func launchServers(inCluster bool, topic string) (*servers, error) {
	if !inCluster {
		server, err := redistest.LaunchWithClock(0, redistest.Durable...)
		if err != nil {
			return nil, err
		}
		return &servers{all: []*redistest.Server{server}, clocks: make([]time.Duration, 1)}, nil
	}
	s := &servers{clocks: []time.Duration{0, time.Hour, -10 * time.Minute}}
	err := s.outside.Try(func(tb testing.TB) {
		tb.Helper()
		s.cluster = redistest.StartMasters(tb, [masters]time.Duration(s.clocks), redistest.Durable...)
		s.all = s.cluster.Nodes
		owner := s.cluster.Master(tb, topic)
		for i, server := range s.all {
			if server == owner {
				s.home = i
			}
		}
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *servers) addrs() []string {
	list := make([]string, len(s.all))
	for i, server := range s.all {
		list[i] = server.Addr
	}
	return list
}

// from returns the number of the server that is so many behind the one that has the topic.
func (s *servers) from(home int) int { return (s.home + home) % len(s.all) }

// move moves the topic's slot to another server.
func (s *servers) move(topic string, to int) error {
	err := s.outside.Try(func(tb testing.TB) {
		tb.Helper()
		s.cluster.AwaitReady(tb) // the last fault may be just over
		s.cluster.MoveSlot(tb, topic, s.all[to])
	})
	if err == nil {
		s.home = to
	}
	return err
}

// relaunch starts a server again; while it was down, somebody may have taken its port for a moment.
func (s *servers) relaunch(n int) error {
	var err error
	for range 10 {
		if err = s.all[n].Relaunch(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the server can't be started again: %w", err)
}

func (s *servers) close() {
	s.outside.Close()
	if s.cluster == nil {
		for _, server := range s.all {
			server.Remove()
		}
	}
}

// watchServers notes when the server of the topic, or this process, with its proxies, did not answer.
func (r *run) watchServers(ctx context.Context) {
	client := connection{Addrs: r.servers.addrs(), ReadTimeout: time.Second, Impatient: true}.client()
	defer client.Close()
	for last := time.Now(); wait(ctx, pulse); {
		if client.Exists(ctx, r.topic).Err() != nil {
			continue
		}
		now := time.Now()
		if now.Sub(last) > longPause(r.claimMinIdle) {
			r.note(func() { r.troubles = append(r.troubles, span{last.UnixNano(), now.UnixNano()}) })
		}
		last = now
	}
}

// setClock sets a server's clock to an offset, and returns how far it jumps.
func (r *run) setClock(server int, offset *time.Duration) (by time.Duration) {
	if offset == nil {
		return 0
	}
	if err := r.servers.all[server].SetClock(*offset); err != nil {
		r.fail(err.Error())
	}
	by = *offset - r.servers.clocks[server]
	r.servers.clocks[server] = *offset
	return by
}

// jumped notes that the clock of a server jumped: if it has the topic, and forward, entries are idle for longer than they were.
func (r *run) jumped(server int, by time.Duration, began time.Time) {
	if by > 0 && server == r.servers.home {
		r.note(func() { r.jumps = append(r.jumps, span{began.UnixNano(), time.Now().UnixNano()}) })
	}
}
