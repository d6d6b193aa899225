package subscription

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStart_contextEndsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(5)
		o, _ := g.options()
		o.Backend = o.Group
		ctx, cancel := context.WithCancel(t.Context())
		s := Start(ctx, o.Config)
		msg := <-s.Output()
		cancel()
		synctest.Wait()
		require.NoError(t, msg.Context().Err(), "the handler may finish")
		msg.Ack()
		<-s.Ended().Done()
		require.Error(t, msg.Context().Err())
		assert.Equal(t, 1, g.acked())
	})
}

// Messages' contexts have the values of Subscribe's context, and do not end with it while handlers
// run.
func TestStart_messagesOutliveTheContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(1)
		o, _ := g.options()
		config := o.Config
		config.Backend = o.Group
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
		s := Start(ctx, config)
		msg := <-s.Output()
		cancel(errors.New("shutdown"))
		time.Sleep(config.CloseTimeout - time.Millisecond)
		require.NoError(t, msg.Context().Err())
		_, bounded := msg.Context().Deadline()
		assert.False(t, bounded)
		assert.Equal(t, "value", msg.Context().Value(key{}))
		time.Sleep(2 * time.Millisecond)
		require.Error(t, msg.Context().Err())
		msg.Ack()
		<-s.Ended().Done()
	})
}
