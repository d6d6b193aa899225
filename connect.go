package redisstream

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

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
//	redis://host1:26379?addr=host2:26379&master_name=mymaster   Sentinel, by some of its nodes
//
// Further options are query parameters in snake case, as go-redis's ParseURL, ParseClusterURL and
// ParseFailoverURL take them: pool_size, min_idle_conns, dial_timeout=3s, read_timeout and so on. A cluster client looks
// at the cluster's state each second, instead of each minute.
//
// The caller closes the client. Errors name what could not be reached, and never hold the password.
func Connect(ctx context.Context, rawURL string) (redis.UniversalClient, error) {
	client, place, err := open(rawURL)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", place, err), client.Close())
	}
	return client, nil
}

// open returns a client and where it leads to, in words.
func open(rawURL string) (redis.UniversalClient, string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// url.Error quotes the whole URL, with the password in it.
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return nil, "", fmt.Errorf("malformed URL: %w", err)
	}
	query := u.Query()
	cluster := query.Get("cluster") == "true"
	query.Del("cluster")
	u.RawQuery = query.Encode()
	place := u.Redacted()

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
