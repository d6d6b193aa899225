package redisstream_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/partitions.md has these, for implementations in other languages.
var partitionVectors = []struct {
	key                     string
	crc                     uint32
	of3, of12, of64, of1024 int
}{
	{"a", 3904355907, 0, 3, 3, 579},
	{"orders", 3845127662, 2, 2, 46, 494},
	{"customer-1", 3958365309, 0, 9, 61, 125},
	{"customer-2", 1927712199, 0, 3, 7, 455},
	{"42", 841265288, 2, 8, 8, 136},
	{"äöü€", 4253074886, 2, 2, 6, 454},
	{strings.Repeat("0", 100), 1403281527, 0, 3, 55, 119},
}

func TestPartitionOf(t *testing.T) {
	t.Parallel()
	assert.Zero(t, redisstream.PartitionOf("", 12))
	for _, vector := range partitionVectors {
		for n, want := range map[int]int{1: 0, 3: vector.of3, 12: vector.of12, 64: vector.of64, 1024: vector.of1024} {
			assert.Equal(t, want, redisstream.PartitionOf(vector.key, n), "%q of %d", vector.key, n)
		}
	}
}

func TestPartitionTopic(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "orders:3/12:{2719}", redisstream.PartitionTopic("orders", 3, 12))
	assert.Equal(t, []string{"orders:0/2:{5350}", "orders:1/2:{40790}"}, redisstream.PartitionTopics("orders", 2))
	topic, partition, partitions, ok := redisstream.ParsePartitionTopic("orders:3/12:{2719}")
	assert.Equal(t, []any{"orders", 3, 12, true}, []any{topic, partition, partitions, ok})
	topic, partition, partitions, ok = redisstream.ParsePartitionTopic("orders")
	assert.Equal(t, []any{"", 0, 0, false}, []any{topic, partition, partitions, ok})
	for _, impossible := range []string{
		redisstream.PartitionTopic("", 0, 1), redisstream.PartitionTopic("{a}b", 0, 1), redisstream.PartitionTopic("a}b", 0, 1),
		redisstream.PartitionTopic("orders", 0, 0), redisstream.PartitionTopic("orders", 3, 3), redisstream.PartitionTopic("orders", -1, 3),
		redisstream.PartitionTopic("orders", 0, redisstream.MaxPartitions+1),
	} {
		assert.Empty(t, impossible)
	}
	assert.Empty(t, redisstream.PartitionTopics("orders", -1))
}

// What belongs to a partition is in its slot.
func TestPartitionTopic_companions(t *testing.T) {
	t.Parallel()
	topic := redisstream.PartitionTopic("orders", 3, 12)
	for _, key := range []string{
		redisstream.DeadLetterTopic(topic), redisstream.DelayedKey(topic), redisstream.RetryQueueKey(topic, "g"),
		redisstream.MembersKey(topic, "g"), redisstream.PauseKey(topic, "g"),
	} {
		assert.True(t, strings.HasPrefix(key, "orders:3/12:{2719}:"), key)
	}
}

// The Python program in docs/partitions.md computes the same. Where there is no Python, the fixed
// values above are all that is compared.
func TestPartitions_inPython(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("no python3: only the fixed values of the other tests are compared")
		return
	}
	page, err := os.ReadFile("docs/partitions.md")
	require.NoError(t, err)
	_, program, found := strings.Cut(string(page), "```python\n")
	require.True(t, found)
	program, _, _ = strings.Cut(program, "```")
	const asks = `
import json, sys
keys, topics, numbers = json.loads(sys.argv[1])
print(json.dumps([[partition_of(k, n) for k in keys for n in numbers], [partition_topic(t, i, n) for t in topics for n in numbers for i in (0, n // 2, n - 1)]]))
`
	keys, topics, numbers := []string{"", "x"}, []string{"orders", "dörfer", "a:b"}, []int{1, 2, 3, 5, 12, 100, 1024}
	for _, vector := range partitionVectors {
		keys = append(keys, vector.key)
	}
	var partitions []int
	for _, key := range keys {
		for _, n := range numbers {
			partitions = append(partitions, redisstream.PartitionOf(key, n))
		}
	}
	var names []string
	for _, topic := range topics {
		for _, n := range numbers {
			for _, i := range []int{0, n / 2, n - 1} {
				names = append(names, redisstream.PartitionTopic(topic, i, n))
			}
		}
	}
	args, err := json.Marshal([]any{keys, topics, numbers})
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), python, "-c", program+asks, string(args))
	command.Stderr = os.Stderr
	got, err := command.Output()
	require.NoError(t, err)
	want, err := json.Marshal([]any{partitions, names})
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))
}

func TestPartitions_inTheDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/partitions.md")
	require.NoError(t, err)
	for _, v := range partitionVectors {
		if len(v.key) < 100 {
			assert.Contains(t, string(page), fmt.Sprintf("| `%s` | %d | %d | %d | %d | %d |", v.key, v.crc, v.of3, v.of12, v.of64, v.of1024))
		}
	}
	for _, name := range []string{redisstream.PartitionTopic("orders", 0, 12), redisstream.PartitionTopic("orders", 3, 12), redisstream.PartitionTopic("orders", 11, 12)} {
		assert.Contains(t, string(page), name)
	}
}
