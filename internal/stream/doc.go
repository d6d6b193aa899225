// Package stream is the only package that speaks Redis: typed commands, scripts and classes of
// errors for one stream and one consumer of it. It knows nothing of messages or workers, nor when a
// lease ends.
//
// Connections:
//   - connections.go: which client a command runs on, as types
//   - private_conn.go: the connection of a reader, which can be interrupted
//   - node.go: the server of a key, in any kind of client
//   - topology.go: refreshes what a cluster client knows of its cluster
//   - errors.go: classes of errors
//   - rights.go: the ACL check
//   - scripts.go: the Lua scripts
//
// Replies with entries:
//   - capture.go: takes them out of the connection
//   - frame.go: finds the end of a reply
//   - resp.go, decode.go: decode them
//   - entry.go, fields.go, id.go: what they are decoded into
//   - meter.go: their size limit and transfer time
//
// Consumer groups:
//   - group.go: create, join, read, ack
//   - pending.go: the pending list, leases, release
//   - claim.go: taking over pending entries
//   - dead_letter.go: moves an entry to the dead-letter stream
//   - dead_letters.go, dead_letters_settle.go: reads, replays and drops dead letters
//   - recreate.go: creates a group again that vanished
//   - housekeeping.go: removes idle consumers, trims
//   - info.go, group_info.go: what the server reports of the stream and the group
//
// Fan-out:
//   - fanout.go: reads a stream without a group
//   - fanout_check.go: finds out that the stream lost its end
//   - seen.go: what was read
//
// Adding entries:
//   - add.go: XADD in pipelines
//   - pipeline.go: what was sent of a pipeline
//   - wait.go: confirmation by replicas
//   - long_value.go: values that may be too long for the server
//   - clock.go: the server's time, for MaxAge
package stream
