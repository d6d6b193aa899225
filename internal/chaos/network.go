package main

import (
	"cmp"
	"context"
	"net"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// network is the proxies between a client and the servers, one for each server.
type network struct {
	proxies []*redistest.Proxy
	via     map[string]string // from addresses of servers to those of proxies
}

// lay starts the proxies. Each has this bandwidth in bytes a second; 0: no limit.
func lay(servers []*redistest.Server, bandwidth int) (*network, error) {
	n := &network{via: map[string]string{}}
	for _, server := range servers {
		proxy, err := redistest.LaunchProxy(server.Addr, 0)
		if err != nil {
			n.close()
			return nil, err
		}
		proxy.Throttle(bandwidth)
		n.proxies, n.via[server.Addr] = append(n.proxies, proxy), proxy.Addr
	}
	return n, nil
}

func (n *network) each(f func(proxy *redistest.Proxy)) {
	for _, proxy := range n.proxies {
		f(proxy)
	}
}

func (n *network) cut()   { n.each((*redistest.Proxy).Cut) }
func (n *network) close() { n.each((*redistest.Proxy).Close) }

// filter sets the filters of all proxies.
func (n *network) filter(send, reply redistest.Filter) {
	n.each(func(proxy *redistest.Proxy) {
		proxy.OnSend(send)
		proxy.OnReply(reply)
	})
}

// connection is how a process reaches the servers.
type connection struct {
	Addrs       []string          // more than one: a cluster
	Via         map[string]string // what to dial instead of an address
	ReadTimeout time.Duration
	Impatient   bool // no retries, except the redirections of a cluster client
}

func (c connection) client() redis.UniversalClient {
	dialer := func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: time.Second}
		return d.DialContext(ctx, network, cmp.Or(c.Via[addr], addr))
	}
	if len(c.Addrs) > 1 {
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Addrs, Dialer: dialer, DialTimeout: time.Second, ReadTimeout: c.ReadTimeout,
		})
	}
	options := &redis.Options{Addr: c.Addrs[0], Dialer: dialer, DialTimeout: time.Second, ReadTimeout: c.ReadTimeout}
	if c.Impatient {
		options.MaxRetries, options.DialerRetries = -1, 1
	}
	return redis.NewClient(options)
}
