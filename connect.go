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

// clusterReload is how often a cluster client refreshes its topology. At go-redis's default of a
// minute it dials a dead master for that long.
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
// ParseFailoverURL take them: pool_size, min_idle_conns, dial_timeout=3s, read_timeout and so on. A
// cluster client refreshes its topology each second, not each minute as go-redis does by default.
//
// Connect asks the server (HELLO) whether it is a node of a cluster. If so, it returns a client of
// the cluster, also without cluster=true, because a client of one node fails with MOVED on some
// topics. HELLO needs no right. A server that does not answer it is used as one server.
//
// Connect enables busy-polling: a goroutine that waits for a reply polls for up to 100 µs before it
// parks. See EnableBusyPolling.
//
// The caller closes the client. Errors name the address that could not be reached and never contain
// the password.
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

// connectCluster closes the client of a node and returns one of its cluster.
func connectCluster(ctx context.Context, u *url.URL, node redis.UniversalClient) (redis.UniversalClient, error) {
	db := node.(*redis.Client).Options().DB //nolint:forcetypeassert // isNode is true for no other type
	_ = node.Close()
	if db != 0 {
		return nil, fmt.Errorf("connect: database %d: a cluster is used by its database 0", db)
	}
	client, _, err := connect(ctx, u)
	return client, err
}

// connect returns a client that got a reply, and whether the server is a node of a cluster that the
// client would use alone.
func connect(ctx context.Context, u *url.URL) (_ redis.UniversalClient, node bool, _ error) {
	client, place, err := open(u)
	if err != nil {
		return nil, false, fmt.Errorf("connect: %w", err)
	}
	EnableBusyPolling(client)
	// go-redis does not end a wait with ctx, only with its own time-outs. Behind Sentinel, Close
	// waits that long, too.
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

// isNode reports whether the client is of one server, and HELLO shows that this is a node of a
// cluster. The reply to HELLO is a map of names and values, or a list of them with protocol 2.
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

// errMalformed contains nothing of the URL: any part of a URL that can't be parsed may be a
// password.
var errMalformed = errors.New("malformed URL: it must be like redis://user:password@host:port, " +
	"with special characters in the user name and password percent-encoded")

// parse refuses a URL whose password seems to contain a delimiter: parts of the password would
// become a path or an option, and appear in errors.
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

// open returns a client, and the address for error messages.
func open(full *url.URL) (redis.UniversalClient, string, error) {
	u, query := *full, full.Query()
	cluster := query.Get("cluster") == "true"
	if cluster || query.Get("cluster") == "false" {
		query.Del("cluster")
	}
	u.RawQuery = query.Encode()
	// place leaves out the rest of the query: it may contain the password of Sentinel's master.
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
