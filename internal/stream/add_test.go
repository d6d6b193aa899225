package stream_test

import (
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
)

func TestFieldList_isSortedByName(t *testing.T) {
	t.Parallel()
	assert.Empty(t, stream.SortedFieldList(nil).Fields())
	assert.Equal(t, []any{"", 0, "a", 1, "b", 2, "c", 3}, stream.SortedFieldList(map[string]any{"c": 3, "a": 1, "": 0, "b": 2}).Fields())
}

func TestAdd_setsTheOutcomeOfEach(t *testing.T) {
	t.Parallel()
	client := redistest.Shared().Client(t)
	adder := stream.NewAdder(client, stream.ReplicaWait{})
	good := func() *stream.AddRequest { return &stream.AddRequest{Fields: stream.NewFieldList("a", "b")} }
	bad := func() *stream.AddRequest { return &stream.AddRequest{} }
	for name, requests := range map[string][]*stream.AddRequest{
		"one":                  {good()},
		"one that fails":       {bad()},
		"several":              {good(), good(), good()},
		"the first fails":      {bad(), good(), good()},
		"one in between fails": {good(), bad(), good()},
		"all fail":             {bad(), bad()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := ownKey(t)
			adder.Add(t.Context(), stream.NewKey(key), requests, new(stream.Pipeline))
			var added int64
			for _, request := range requests {
				if len(request.Fields.Fields()) > 0 {
					assert.NoError(t, request.Err)
					added++
				} else {
					assert.ErrorContains(t, request.Err, "wrong number of arguments")
					assert.True(t, stream.IsNotApplied(request.Err))
				}
			}
			assert.Equal(t, added, client.XLen(t.Context(), key).Val())
		})
	}
}
