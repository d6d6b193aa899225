// Package redisstreamtest helps to test code that uses redisstream. It has a Publisher and a
// Subscriber on a Redis server inside the test's process, and helpers that wait for messages:
//
//	server := redisstreamtest.New(t)
//	pubSub, topic := server.PubSub("kitchen"), server.Topic()
//
// When the test ends, everything is closed in order: subscribers, publishers, the client, the
// server.
//
// A unit test of a handler needs no server: see redisstream.ContextWithEntry.
//
// # Differences from a real server
//
// The embedded server is github.com/alicebob/miniredis/v2. Publishing, consumer groups, strict
// order and OrderingKey, nacks, leases, take-over, dead letters, fan-out, AutoAck and Close work as
// on a real server. These are the differences:
//
//   - WAIT reports no replicas: a Publish with WaitReplicas fails with ErrNotReplicated.
//   - Trimming is exact: MaxLen, MaxAge, DeadLetterMaxLen and TrimInterval remove every entry over
//     the limit. A real server keeps up to one node (100 entries) more. TrimInterval keeps all
//     entries after the oldest pending one: there is no XTRIM ... ACKED.
//   - Entries that were trimmed before a handler got them are not counted in the log: XINFO reports
//     neither entries-read nor a correct lag, and XPENDING omits trimmed entries.
//   - A group that vanished is recreated. If another process has already created it at another ID,
//     it stays there, because XGROUP SETID does not exist.
//   - Replies have no bound in bytes: there is no XREADGROUP ... MAXSIZE.
//   - There are no ACLs, so Subscribe checks no rights. There are no clusters, no failover and no
//     maxmemory.
//   - Nothing is stored: all streams are gone when the test ends.
//   - Time is that of the process. XINFO CONSUMERS reports idle times that are not exact.
//   - Its speed differs from that of a real server.
//
// WithURL runs the same test on a real server. For control over the embedded server (its clock,
// errors that it returns), run a miniredis of your own and name it in WithURL.
package redisstreamtest
