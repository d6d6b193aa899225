package stream

import (
	"strconv"
	"strings"
	"sync"
)

// MaxPartitions bounds the number of partitions of a topic.
const MaxPartitions = 1024

// maxCells bounds the cells of partitionSlot. A cell has at least four slots, so its middle is not
// beside the border of another cell.
const maxCells = 4096

// partitionSlot returns the slot of a partition. The slots are divided into equal cells: as many as
// the largest multiple of partitions up to maxCells. Partition 0 is in the middle of the cell that has
// the slot of the topic's name, and the others follow at equal distances. So masters that have equal
// ranges of slots have equal numbers of partitions, if those can be divided equally; and not all
// topics begin on the same master.
func partitionSlot(topic string, partition, partitions int) int {
	distance := maxCells / partitions
	cells := distance * partitions
	cell := (slot(topic)*cells/slots + partition*distance) % cells
	return (2*cell + 1) * slots / (2 * cells)
}

// slotTags returns for each slot the smallest number whose decimal digits are a hash tag in it.
var slotTags = sync.OnceValue(func() *[slots]int {
	var tags [slots]int
	for slot := range tags {
		tags[slot] = -1
	}
	var digits []byte
	for number, found := 0, 0; found < slots; number++ {
		digits = strconv.AppendInt(digits[:0], int64(number), 10)
		if tag := &tags[crcSlot(digits)]; *tag < 0 {
			*tag = number
			found++
		}
	}
	return &tags
})

// PartitionName returns the stream of a partition: "orders:3/12:{2719}" of "orders".
func PartitionName(topic string, partition, partitions int) string {
	tag := slotTags()[partitionSlot(topic, partition, partitions)]
	name := make([]byte, 0, len(topic)+len(":1023/1024:{123456}"))
	name = append(append(name, topic...), ':')
	name = append(strconv.AppendInt(name, int64(partition), 10), '/')
	name = append(strconv.AppendInt(name, int64(partitions), 10), ":{"...)
	return string(append(strconv.AppendInt(name, int64(tag), 10), '}'))
}

// CanHavePartitions reports whether a topic of this name can: another hash tag would come before that
// of a partition.
func CanHavePartitions(topic string) bool { return topic != "" && !strings.ContainsAny(topic, "{}") }

// ParsePartitionName is the inverse of PartitionName.
func ParsePartitionName(name string) (topic string, partition, partitions int, ok bool) {
	rest, tagged := strings.CutSuffix(name, "}")
	tag := strings.LastIndex(rest, ":{")
	if !tagged || tag < 0 {
		return "", 0, 0, false
	}
	colon := strings.LastIndexByte(rest[:tag], ':')
	if colon < 0 {
		return "", 0, 0, false
	}
	first, second, _ := strings.Cut(rest[colon+1:tag], "/")
	partition, err := strconv.Atoi(first)
	if err != nil {
		return "", 0, 0, false
	}
	partitions, err = strconv.Atoi(second)
	topic = name[:colon]
	valid := err == nil && partitions <= MaxPartitions && 0 <= partition && partition < partitions && CanHavePartitions(topic)
	if !valid || PartitionName(topic, partition, partitions) != name {
		return "", 0, 0, false
	}
	return topic, partition, partitions, true
}
