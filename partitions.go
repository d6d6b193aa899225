package redisstream

import (
	"hash/crc32"

	"github.com/millrace/redisstream/internal/stream"
)

// MaxPartitions is the largest number of partitions that a topic can have.
const MaxPartitions = stream.MaxPartitions

// PartitionTopic returns the stream of a partition, from 0 to partitions-1, of a topic:
// "orders:3/12:{2719}" for partition 3 of 12 of "orders". It is a topic like any other: Subscribe to
// it, or give it to the functions that take a topic, to work on one partition.
//
// The hash tag, a decimal number, puts the stream into the hash slot that the partition has in a
// cluster. The slots of a topic's partitions are spread evenly, so masters with equal ranges of slots
// have equal numbers of partitions, or numbers that differ by one. docs/partitions.md describes how
// other languages compute the name. It returns "" for a partition that can't exist: partitions is not
// from 1 to MaxPartitions, or the topic is empty or contains a brace.
func PartitionTopic(topic string, partition, partitions int) string {
	if partitions > MaxPartitions || partition < 0 || partition >= partitions || !stream.CanHavePartitions(topic) {
		return ""
	}
	return stream.PartitionName(topic, partition, partitions)
}

// PartitionTopics returns the streams of all partitions of a topic, as PartitionTopic does each.
func PartitionTopics(topic string, partitions int) []string {
	list := make([]string, max(partitions, 0))
	for i := range list {
		list[i] = PartitionTopic(topic, i, partitions)
	}
	return list
}

// ParsePartitionTopic is the inverse of PartitionTopic: it returns which partition of which topic a
// stream is, and of how many. ok is false for any other stream.
func ParsePartitionTopic(name string) (topic string, partition, partitions int, ok bool) {
	return stream.ParsePartitionName(name)
}

// PartitionOf returns the partition of a key: the CRC-32 (IEEE, as in zlib) of its bytes modulo
// partitions, which must be positive. Kafka clients that use librdkafka compute the same.
func PartitionOf(key string, partitions int) int {
	crc := ^uint32(0)
	for i := range len(key) { // crc32.ChecksumIEEE would need a copy of the key
		crc = crc32.IEEETable[byte(crc&0xff)^key[i]] ^ crc>>8
	}
	return int(^crc % uint32(partitions)) //nolint:gosec // at most MaxPartitions
}
