// Package partition shares the partitions of a topic among the members of a consumer group, without
// a coordinator. Each member writes what it holds into a record of the group, reads what the others
// hold, and computes the same assignment as they do.
//
// The record only makes members agree. Who owns a partition is decided in the partition's own slot,
// by an ownership with a lease, which a [Runner] acquires and releases.
package partition
