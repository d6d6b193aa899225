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

// servers are the server of a run, or the masters of its cluster. They have one fault at a time.
type servers struct {
	// mu is held during a fault of a server.
	mu      sync.Mutex
	all     []*redistest.Server
	cluster *redistest.Cluster // nil: there is one server
	outside redistest.Outside
	clocks  []time.Duration // offset of each
	home    int             // the server with the topic
}

// launchServers starts one server whose clock is right, or a cluster whose clocks differ.
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

// from returns the number of a server, counted from the one that has the topic.
func (s *servers) from(home int) int { return (s.home + home) % len(s.all) }

// move moves the topic's slot to another server.
func (s *servers) move(topic string, to int) error {
	err := s.outside.Try(func(tb testing.TB) {
		tb.Helper()
		s.cluster.AwaitReady(tb) // the cluster may still recover from the last fault
		s.cluster.MoveSlot(tb, topic, s.all[to])
	})
	if err == nil {
		s.home = to
	}
	return err
}

// relaunch restarts a server. Another process may have its port for a moment, so it tries
// repeatedly.
func (s *servers) relaunch(n int) error {
	var err error
	for range 10 {
		if err = s.all[n].Relaunch(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the server can't be restarted: %w", err)
}

func (s *servers) close() {
	s.outside.Close()
	if s.cluster == nil {
		for _, server := range s.all {
			server.Remove()
		}
	}
}

// watchServers records when the topic's server did not answer, or when this process, which runs the
// proxies, did not run.
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

// setClock sets the offset of a server's clock, and returns the size of the jump.
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

// jumped records a forward jump of the clock of the topic's server: idle times of entries jump too.
func (r *run) jumped(server int, by time.Duration, began time.Time) {
	if by > 0 && server == r.servers.home {
		r.note(func() { r.jumps = append(r.jumps, span{began.UnixNano(), time.Now().UnixNano()}) })
	}
}
