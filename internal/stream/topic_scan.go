package stream

import (
	"context"
	"iter"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

const (
	// scanCount is how many keys the server looks at in one step of SCAN.
	scanCount = 500
	// topicsPage is how many streams are described together.
	topicsPage = 100
)

// ScannedTopic is a stream that Topics found.
type ScannedTopic struct {
	TopicState

	Name string
}

// Topics iterates over the streams of all masters whose names match the pattern (SCAN ... TYPE
// stream). keysOf returns the keys of a stream, or false for one to leave out. Streams that are gone
// when they are described are left out, and those on which the user has no right.
func Topics(
	ctx context.Context, client redis.UniversalClient, match string, keysOf func(name string) (InspectedKeys, bool),
) iter.Seq2[ScannedTopic, error] {
	return func(yield func(ScannedTopic, error) bool) {
		seen := make(map[string]struct{}) // SCAN may return a key twice
		for names, err := range scannedPages(ctx, client, match) {
			if err != nil {
				yield(ScannedTopic{}, err)
				return
			}
			var page []InspectedKeys
			for i, name := range names {
				_, again := seen[name]
				seen[name] = struct{}{}
				if keys, wanted := keysOf(name); wanted && !again {
					page = append(page, keys)
				}
				if len(page) == topicsPage || i == len(names)-1 {
					if !describe(ctx, client, page, yield) {
						return
					}
					page = page[:0]
				}
			}
		}
	}
}

// describe yields the streams of a page, and reports whether to go on.
func describe(ctx context.Context, client redis.UniversalClient, page []InspectedKeys, yield func(ScannedTopic, error) bool) bool {
	states, errs := TopicStates(ctx, client, page)
	for i, err := range errs {
		switch {
		case IsNoStream(err) || IsNoRightOnKey(err):
		case err != nil:
			yield(ScannedTopic{}, err)
			return false
		case !yield(ScannedTopic{states[i], page[i].Stream}, nil):
			return false
		}
	}
	return true
}

// TopicStates returns the states of streams, all together in few round trips, and the error of each.
func TopicStates(ctx context.Context, client redis.UniversalClient, keys []InspectedKeys) (states []TopicState, errs []error) {
	calls := make([]call, len(keys))
	for i, k := range keys {
		calls[i] = Inspect(client, k).keys.topicCall()
	}
	states, errs = make([]TopicState, len(keys)), make([]error, len(keys))
	for i, reply := range runAll(ctx, client, calls) {
		states[i], errs[i] = topicStateOf(reply)
	}
	return states, errs
}

// IsNoRightOnKey reports whether the user lacks the right on a key, not on a command.
func IsNoRightOnKey(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") && strings.Contains(err.Error(), " key")
}

// scannedPages iterates over the names that each step of SCAN returns.
func scannedPages(ctx context.Context, client redis.UniversalClient, match string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		masters, err := mastersOf(ctx, client)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, master := range masters {
			for cursor := uint64(0); ; {
				var names []string
				if names, cursor, err = master.ScanType(ctx, cursor, match, scanCount, "stream").Result(); err != nil {
					yield(nil, err)
					return
				}
				if !yield(names, nil) {
					return
				}
				if cursor == 0 {
					break
				}
			}
		}
	}
}

// mastersOf returns the clients of all servers that have keys.
func mastersOf(ctx context.Context, client redis.UniversalClient) (masters []redis.Cmdable, err error) {
	var mu sync.Mutex
	collect := func(_ context.Context, master *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, master)
		return nil
	}
	switch c := client.(type) {
	case clusterClient:
		err = c.ForEachMaster(ctx, collect)
	case shardedClient:
		err = c.ForEachShard(ctx, collect)
	default:
		masters = []redis.Cmdable{client}
	}
	return masters, err
}

type shardedClient interface {
	ForEachShard(ctx context.Context, visit func(context.Context, *redis.Client) error) error
}
