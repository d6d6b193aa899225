package redisstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// clusterReload is how often a cluster client of ours looks at the state of the cluster. With go-redis's
// minute it goes on dialling a dead master for that long.
const clusterReload = time.Second

// Connect returns a client for the server, cluster or Sentinel set at rawURL, and pings it:
//
//	redis://user:password@host:6379/0            one server; rediss:// with TLS
//	unix:///run/redis.sock?db=0                  one server on a socket
//	redis://host1:6379?addr=host2:6379           a cluster, by some of its nodes; rediss:// with TLS
//	redis://host:6379?cluster=true               a cluster, by one of its nodes
//	redis://host:6379?cluster=false              one node of a cluster, and nothing else of it
//	redis://host1:26379?addr=host2:26379&master_name=mymaster   Sentinel, by some of its nodes
//
// Further options are query parameters in snake case, as go-redis's ParseURL, ParseClusterURL and
// ParseFailoverURL take them: pool_size, min_idle_conns, dial_timeout=3s, read_timeout and so on. A cluster client looks
// at the cluster's state each second, instead of each minute.
//
// A server that says of itself (HELLO) that it is a node of a cluster leads to a client of the cluster, also without cluster=true:
// a client of one node would fail topic by topic with MOVED. HELLO needs no right. A server that does not answer it is taken
// for one server.
//
// It enables busy-polling: see EnableBusyPolling.
//
// The caller closes the client. Errors name what could not be reached, and never hold the password.
func Connect(ctx context.Context, rawURL string) (redis.UniversalClient, error) {
	u, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	client, node, err := connect(ctx, u)
	if err != nil || !node || u.Query().Has("cluster") || u.Query().Has("master_name") {
		return client, err
	}
	query := u.Query()
	query.Set("cluster", "true")
	u.RawQuery = query.Encode()
	whole, err := connectCluster(ctx, u, client)
	if err != nil {
		return nil, fmt.Errorf("this is a node of a cluster (cluster=false connects to it alone): %w", err)
	}
	return whole, nil
}

// connectCluster replaces the client of a node by one of its cluster.
func connectCluster(ctx context.Context, u *url.URL, node redis.UniversalClient) (redis.UniversalClient, error) {
	db := node.(*redis.Client).Options().DB //nolint:forcetypeassert // only such a one says that it is a node
	_ = node.Close()
	if db != 0 {
		return nil, fmt.Errorf("connect: database %d: a cluster is used by its database 0", db)
	}
	client, _, err := connect(ctx, u)
	return client, err
}

// connect returns a client that answered, and whether that was a node of a cluster that would be used alone.
func connect(ctx context.Context, u *url.URL) (_ redis.UniversalClient, node bool, _ error) {
	client, place, err := open(u)
	if err != nil {
		return nil, false, fmt.Errorf("connect: %w", err)
	}
	EnableBusyPolling(client)
	// go-redis waits as long as its own time-outs say, whatever becomes of ctx. Behind Sentinel, so does Close.
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	err = client.Ping(ctx).Err()
	if err == nil {
		node = isNode(ctx, client)
	}
	if stopped := stop(); ctx.Err() != nil {
		if stopped {
			go client.Close() //nolint:errcheck // it failed already
		}
		return nil, false, fmt.Errorf("connect to %s: %w", place, context.Cause(ctx))
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("connect to %s: %w", place, stream.Redact(err)), client.Close())
	}
	return client, node, nil
}

// isNode reports whether the server of a client that is none of a cluster says that it is a node of one. The reply to HELLO
// is a map, or with protocol 2 a list, of names and values.
func isNode(ctx context.Context, client redis.UniversalClient) bool {
	if _, single := client.(*redis.Client); !single {
		return false
	}
	switch reply := client.Do(ctx, "hello").Val().(type) {
	case map[any]any:
		return reply["mode"] == "cluster"
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			if reply[i] == "mode" {
				return reply[i+1] == "cluster"
			}
		}
	}
	return false
}

// errMalformed holds nothing of the URL: no part of one that can't be parsed is known to be no password.
var errMalformed = errors.New("malformed URL: it must be like redis://user:password@host:port, " +
	"with what is special in the user name and password percent-encoded")

// parse refuses what looks like a password with a delimiter in it, which would be taken for a path or an option.
func parse(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return nil, errMalformed
	}
	suspects := u.Query()["addr"]
	if u.User == nil && u.Host != "" {
		suspects = append(suspects, u.Path)
		for name := range u.Query() {
			suspects = append(suspects, name)
		}
	}
	if strings.Contains(strings.Join(suspects, " "), "@") {
		return nil, errMalformed
	}
	return u, nil
}

// open returns a client and where it leads to, in words.
func open(full *url.URL) (redis.UniversalClient, string, error) {
	u, query := *full, full.Query()
	cluster := query.Get("cluster") == "true"
	if cluster || query.Get("cluster") == "false" {
		query.Del("cluster")
	}
	u.RawQuery = query.Encode()
	// The query may have a password too: that of Sentinel's master.
	place := strings.Join(append([]string{u.Scheme + "://" + u.Host + u.Path}, query["addr"]...), ", ")
	if query.Has("master_name") {
		place = fmt.Sprintf("master %q at %s", query.Get("master_name"), place)
	}

	switch {
	case query.Has("master_name"):
		options, err := redis.ParseFailoverURL(u.String())
		if err != nil {
			return nil, "", redacted(place, err)
		}
		return redis.NewFailoverClient(options), place, nil
	case cluster || query.Has("addr"):
		options, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, "", redacted(place, err)
		}
		options.ClusterStateReloadInterval = clusterReload
		return redis.NewClusterClient(options), place, nil
	default:
		options, err := redis.ParseURL(u.String())
		if err != nil {
			return nil, "", redacted(place, err)
		}
		return redis.NewClient(options), place, nil
	}
}

func redacted(place string, err error) error {
	return fmt.Errorf("%s: %w", place, err)
}
