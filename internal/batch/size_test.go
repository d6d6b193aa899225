package batch_test

import (
	"testing"
	"testing/synctest"

	"github.com/millrace/redisstream/internal/batch"
	"github.com/stretchr/testify/assert"
)

func TestMaxSize_boundsABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		c := batch.Committer[int]{Commit: r.commit, Size: func(item int) int { return item }, MaxSize: 10}
		c.Add(1)
		synctest.Wait()
		for _, item := range []int{3, 3, 4, 1, 50, 2, 9, 10} {
			c.Add(item)
		}
		c.Wait()
		assert.Equal(t, [][]int{{1}, {3, 3, 4}, {1}, {50}, {2}, {9}, {10}}, r.seen(), "an item over the limit is sent alone")
	})
}
