package stream

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// After a lost reply only an answer about the item itself counts.
func TestProducer_uncertainStays(t *testing.T) {
	t.Parallel()
	refused := func(text string) error { return ownError(text) }
	tests := map[string]struct {
		err      error
		answered bool
		open     bool
		applied  bool // perhaps
	}{
		"it was there":                    {nil, true, false, true},
		"the script refused it":           {refused("WRONGTYPE no stream"), true, false, false},
		"the script refused on a replica": {refused("READONLY a replica"), true, true, true},
		"the server refused the command":  {refused("OOM full"), false, true, true},
		"the server starts":               {refused("LOADING"), false, true, true},
		"no connection":                   {unsentError{&net.OpError{Op: "dial", Err: io.EOF}}, false, true, true},
		"cut":                             {cutError{io.EOF}, false, true, true},
		"the client is closed":            {unsentError{redis.ErrClosed}, false, false, true},
		"too few replicas":                {ErrNotReplicated, true, false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			producer := NewProducer("key:", 0)
			requests := []*AddRequest{{Fields: NewFieldList("a", "b")}}
			producer.number(requests, false)
			request := requests[0]
			request.Err, request.written = io.EOF, true
			request.item.observe(request)
			assert.True(t, request.Open())
			assert.True(t, producer.Spent())

			request.Err, request.item.answered = test.err, test.answered
			request.item.observe(request)
			assert.Equal(t, test.open, request.Open())
			assert.Equal(t, test.applied, request.Err == nil || !IsNotApplied(request.Err))
			if test.err != nil {
				assert.ErrorIs(t, request.Err, test.err)
			}
		})
	}
}

// Before a reply was lost, a refusal is an answer, and what was not written is sent again.
func TestProducer_firstAttempt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		open bool
	}{
		"added":         {nil, false},
		"refused":       {ownError("OOM full"), false},
		"slot moves":    {ownError("TRYAGAIN Multiple keys"), true},
		"not written":   {unsentError{errors.New("no way")}, true},
		"cut":           {cutError{io.EOF}, true},
		"client closed": {unsentError{redis.ErrClosed}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			producer := NewProducer("key:", 0)
			request := &AddRequest{Err: test.err}
			producer.number([]*AddRequest{request}, false)
			request.item.observe(request)
			assert.Equal(t, test.open, request.Open())
			assert.False(t, producer.Spent())
		})
	}
}

// Each 100 items of a pipeline have a producer ID of their own, because the server knows 100 of each.
func TestProducer_idForEach100Items(t *testing.T) {
	t.Parallel()
	producer := NewProducer("key:", 0)
	producer.idmp = true
	requests := make([]*AddRequest, 250)
	for i := range requests {
		requests[i] = new(AddRequest)
	}
	producer.number(requests, false)
	count := map[any]int{}
	for _, request := range requests {
		count[request.item.producerID()]++
	}
	assert.Equal(t, map[any]int{producer.id: 100, producer.id + ".1": 100, producer.id + ".2": 50}, count)
}
