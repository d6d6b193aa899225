package subscription

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deliveryIn returns the context of a delivery of a subscription with the given context.
func deliveryIn(messages context.Context) *deliveryContext {
	return &deliveryContext{subscription: &Subscription{messages: messages}}
}

func TestDeliveryContext_ends(t *testing.T) {
	t.Parallel()
	type key struct{}
	for name, ask := range map[string]func(ctx context.Context) context.Context{
		"nobody asked before": func(ctx context.Context) context.Context { return ctx },
		"Done was asked for":  func(ctx context.Context) context.Context { _ = ctx.Done(); return ctx },
		"a derived context": func(ctx context.Context) context.Context {
			derived, cancel := context.WithTimeout(ctx, time.Hour)
			context.AfterFunc(derived, cancel)
			return derived
		},
	} {
		for event, end := range map[string]func(c *deliveryContext, endParent context.CancelFunc){
			"settled":           func(c *deliveryContext, _ context.CancelFunc) { c.end() },
			"settled twice":     func(c *deliveryContext, _ context.CancelFunc) { c.end(); c.end() },
			"subscription ends": func(_ *deliveryContext, endParent context.CancelFunc) { endParent() },
		} {
			t.Run(name+", "+event, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					parent, endParent := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
					defer endParent()
					c := deliveryIn(parent)
					ctx := ask(c)
					require.NoError(t, ctx.Err())
					require.NoError(t, context.Cause(ctx))
					end(c, endParent)
					assert.ErrorIs(t, ctx.Err(), context.Canceled)
					assert.ErrorIs(t, context.Cause(ctx), context.Canceled)
					<-ctx.Done()
					assert.ErrorIs(t, ctx.Err(), context.Canceled)
					assert.Equal(t, "value", ctx.Value(key{}))
				})
			})
		}
	}
}

// The package context would start a goroutine for a parent that it doesn't know; synctest fails a test whose
// goroutines don't end.
func TestDeliveryContext_derivedContextNeedsNoGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := deliveryIn(context.Background())
		derived, cancel := context.WithCancel(c)
		context.AfterFunc(derived, func() {})
		_ = cancel // nobody calls it
		require.NoError(t, derived.Err())
	})
}
