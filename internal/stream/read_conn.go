package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// readConn is the connection of a Group's or Fanout's reads: a privateConn, or a sharedConn. One
// goroutine uses it; others may call Interrupt and Close.
type readConn interface {
	commands

	// wasRenewed reports whether a command ran on a connection that somebody else dialled since the
	// last call: it may lead to another server.
	wasRenewed() bool
	// OnReconnect sets what is called after the server accepted a connection that is not the first.
	OnReconnect(reconnected func())
	// Reset prepares the next command after an error.
	Reset(ctx context.Context)
	// Interrupt ends what runs, and refuses all further commands.
	Interrupt()
	// Close interrupts and frees what is in use. Safe to repeat.
	Close()
}

// commands are what a reader sends.
type commands interface {
	// onPrivate runs a command that may block on the server for the given time.
	onPrivate(ctx context.Context, block time.Duration, run func(context.Context, privateClient) error) error
	// onPrivateDecoded is onPrivate for a command whose reply is decoded here, and not by go-redis.
	onPrivateDecoded(
		ctx context.Context, block time.Duration, run func(context.Context, privateClient) error, decode func(*decoder) error,
	) error
	// readEntries runs XREAD or XREADGROUP, and decodes the reply.
	readEntries(ctx context.Context, block time.Duration, read readCommand) ([]Entry, error)
	// await runs read until it returns entries or an error, or block is over. It tells read how long
	// it may block on the server.
	await(ctx context.Context, block time.Duration, read func(block time.Duration) ([]Entry, error)) ([]Entry, error)
	// limitReply bounds the replies that follow.
	limitReply(limit Limit)
	// TransferTime is the time between the first and the last bytes of the last reply.
	TransferTime() time.Duration
}

// noBlock makes a read return at once.
const noBlock = -1

// readCommand runs XREAD or XREADGROUP, or queues it in a pipeline.
type readCommand func(ctx context.Context, c redis.Cmdable) *redis.XStreamSliceCmd
