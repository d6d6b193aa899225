package stream

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tags are the smallest numbers whose CRC16 is right, so that other languages find the same.
// docs/partitions.md shows these names.
func TestPartitionName(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "orders:0/1:{5350}", PartitionName("orders", 0, 1))
	assert.Equal(t, "orders:0/12:{5350}", PartitionName("orders", 0, 12))
	assert.Equal(t, "orders:3/12:{2719}", PartitionName("orders", 3, 12))
	assert.Equal(t, "orders:11/12:{48127}", PartitionName("orders", 11, 12))
	assert.Equal(t, "orders:1023/1024:{1773}", PartitionName("orders", 1023, 1024))
	for slot, number := range slotTags() {
		if slot%97 != 0 {
			continue
		}
		for smaller := range number {
			require.NotEqual(t, slot, crcSlot(fmt.Sprint(smaller)))
		}
		require.Equal(t, slot, crcSlot(fmt.Sprint(number)))
	}
}

// partitionSlots returns the slots of a topic's partitions, in order.
func partitionSlots(topic string, partitions int) []int {
	list := make([]int, partitions)
	for i := range list {
		list[i] = slot(PartitionName(topic, i, partitions))
	}
	return list
}

// perMaster counts slots for each of several masters with equal ranges, as redis-cli makes them
// (rounded) or as they are often made by hand (rounded down).
func perMaster(list []int, masters int, rounded bool) []int {
	counts := make([]int, masters)
	for _, slot := range list {
		for master := range masters {
			end := (master + 1) * slots / masters
			if rounded {
				end = (2*(master+1)*slots + masters) / (2 * masters)
			}
			if slot < end {
				counts[master]++
				break
			}
		}
	}
	return counts
}

// Each topic has its partitions in different slots, at equal distances. Masters with equal ranges
// have equal numbers of them, as far as they can be divided.
func TestPartitionName_isEvenForEachNumber(t *testing.T) {
	t.Parallel()
	for partitions := 1; partitions <= MaxPartitions; partitions++ {
		list := partitionSlots("orders", partitions)
		slices.Sort(list)
		for i, slot := range list {
			gap := list[(i+1)%partitions] - slot
			if i == partitions-1 {
				gap += slots
			}
			require.Contains(t, []int{slots / partitions, (slots + partitions - 1) / partitions}, gap, "of %d partitions", partitions)
		}
		checkEven(t, "orders", partitions)
	}
}

// Whatever slot a topic's name has, the numbers are equal.
func TestPartitionName_isEvenForEachTopic(t *testing.T) {
	t.Parallel()
	for topic := range 8_000 {
		for _, partitions := range []int{1, 2, 3, 6, 12, 24} {
			checkEven(t, fmt.Sprint("topic", topic), partitions)
		}
	}
	for topic := range 100 {
		checkEven(t, fmt.Sprint("topic", topic), 1024)
	}
}

func checkEven(t *testing.T, topic string, partitions int) {
	t.Helper()
	list := partitionSlots(topic, partitions)
	for _, masters := range []int{3, 4, 5, 6} {
		for _, rounded := range []bool{true, false} {
			counts := perMaster(list, masters, rounded)
			if most, least := slices.Max(counts), slices.Min(counts); most-least > 1 || partitions%masters == 0 && most != least {
				require.Failf(t, "uneven", "%d partitions of %q on %d masters: %v", partitions, topic, masters, counts)
			}
		}
	}
}

// Topics begin on all masters alike: those with one partition are spread, too.
func TestPartitionName_topicsAreSpread(t *testing.T) {
	t.Parallel()
	var firsts []int
	for topic := range 3000 {
		firsts = append(firsts, slot(PartitionName(fmt.Sprint("topic", topic), 0, 1)))
	}
	for _, count := range perMaster(firsts, 3, true) {
		assert.InDelta(t, 1000, count, 100)
	}
}

func TestParsePartitionName(t *testing.T) {
	t.Parallel()
	for _, want := range []string{"orders", "a", "a:b/c", "orders:1/2", "with space", "\x00", "dörfer"} {
		for _, partitions := range []int{1, 12, 1024} {
			for _, partition := range []int{0, partitions / 2, partitions - 1} {
				topic, i, n, ok := ParsePartitionName(PartitionName(want, partition, partitions))
				require.True(t, ok)
				require.Equal(t, []any{want, partition, partitions}, []any{topic, i, n})
			}
		}
	}
	for _, name := range []string{
		"", "orders", "{orders}:dead-letter", "orders:3/12:{2719}:dead-letter", "orders:3/12:{2720}", "orders:03/12:{2719}", "orders:+3/12:{2719}",
		"orders:12/12:{2719}", "orders:-1/12:{2719}", "orders:3/2048:{2719}", "orders:3/0:{2719}", ":3/12:{2719}", "{a}:3/12:{2719}", "3/12:{2719}",
		"orders:3/12:{}", "orders:3:{2719}", "orders:x/y:{2719}", "orders:3/:{2719}", ":{}", "}", ":{2719}",
	} {
		_, _, _, ok := ParsePartitionName(name)
		assert.False(t, ok, name)
	}
}

// A name that is none costs little: the tables are not made for it.
func BenchmarkParsePartitionName(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParsePartitionName("{orders}:dead-letter")
	}
}
