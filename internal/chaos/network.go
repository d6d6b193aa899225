package main

import (
	"cmp"
	"context"
	"net"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// network is what lies between a client and the servers: a proxy to each of them.
type network struct {
	proxies []*redistest.Proxy
	via     map[string]string // addresses of servers to those of proxies
}

// lay starts the proxies; bandwidth is in bytes a second for each, 0: no limit.
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

// filter sets what sees the bytes that pass, of all proxies together.
func (n *network) filter(send, reply redistest.Filter) {
	n.each(func(proxy *redistest.Proxy) {
		proxy.OnSend(send)
		proxy.OnReply(reply)
	})
}

// connection is how a process reaches the servers.
type connection struct {
	Addrs       []string          // several: a cluster
	Via         map[string]string // which address to dial instead of one of these
	ReadTimeout time.Duration
	Impatient   bool // nothing is tried again, but for what a cluster client has to
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
