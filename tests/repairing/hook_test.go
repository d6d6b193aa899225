package repairing

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"
)

// beforeDrop does something before the script that removes a consumer runs.
type beforeDrop struct{ do func() }

func (beforeDrop) DialHook(next redis.DialHook) redis.DialHook { return next }
func (beforeDrop) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h beforeDrop) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if slices.Contains(cmd.Args(), any("redisstream~GIVENBACK2")) {
			h.do()
		}
		return next(ctx, cmd)
	}
}

// endsAfterDeletion sends only the first of the commands that delete a group.
type endsAfterDeletion struct{ deleted bool }

func (*endsAfterDeletion) DialHook(next redis.DialHook) redis.DialHook { return next }
func (*endsAfterDeletion) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *endsAfterDeletion) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "unlink" && cmd.Name() != "xgroup" {
			return next(ctx, cmd)
		}
		if h.deleted {
			cmd.SetErr(context.Canceled)
			return context.Canceled
		}
		h.deleted = true
		return next(ctx, cmd)
	}
}
