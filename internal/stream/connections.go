package stream

import "github.com/redis/go-redis/v9"

// sharedClient is the user's client. Commands that must work after Interrupt run on it: acks,
// leases, releases, dead letters, and changes of the stream or the group as a whole. None of them
// blocks on the server.
type sharedClient struct{ redis.UniversalClient }

// privateClient is the client of a privateConn. The reader uses it for reads, which may block, for
// claims, and for the state of the stream and the group.
type privateClient struct{ *redis.Client }
