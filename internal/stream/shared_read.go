package stream

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// readsTogether bounds the reads of one pipeline.
	readsTogether = 64
	// smallReply is the largest reply of a reader that shares a pipeline. Others wait for what comes
	// before them, so a reader of larger ones borrows a connection.
	smallReply = 64 << 10
	// pipelineLimit bounds the replies of a pipeline. A reader whose replies became larger than
	// smallReply is known after its first one.
	pipelineLimit = 8 << 20
)

// sharedRead is a read that goes in a pipeline with those of other readers.
type sharedRead struct {
	command readCommand
	sent    atomic.Bool // it can't be withdrawn, or is withdrawn
	done    chan struct{}

	// These are set before done is closed.
	entries []Entry
	size    int // of the reply
	took    time.Duration
	err     error
}

// serveReads sends the reads that come, in pipelines, until the server's connections are closed. A
// read that comes while a connection is free goes at once. What comes during a round trip goes with
// the next one.
func (s *readServer) serveReads() {
	for {
		var reads []*sharedRead
		select {
		case read := <-s.reads:
			reads = append(reads, read)
		case <-s.ended.Done():
			return
		}
		conn := s.freeInTime()
		for more := true; more && len(reads) < readsTogether; {
			select {
			case read := <-s.reads:
				reads = append(reads, read)
			default:
				more = false
			}
		}
		reads = slices.DeleteFunc(reads, func(r *sharedRead) bool { return r.sent.Swap(true) })
		switch {
		case conn == nil:
			for _, read := range reads {
				read.err = errNoneFree
			}
		case len(reads) > 0:
			wasOpen := conn.isOpen()
			err := conn.readTogether(s.ended, reads)
			s.learn(conn, err, wasOpen)
		}
		if conn != nil {
			s.giveBack(conn)
		}
		for _, read := range reads {
			close(read.done)
		}
	}
}

// freeInTime waits for a free connection; nil: there was none in time.
func (s *readServer) freeInTime() *lentConn {
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case conn := <-s.free:
		return s.take(conn)
	case <-timer.C:
	case <-s.ended.Done():
	}
	return nil
}

// readTogether runs reads in a pipeline. It returns the error of the connection, or one that tells of
// the server's state.
func (c *lentConn) readTogether(ctx context.Context, reads []*sharedRead) (failure error) {
	c.limitReply(Limit{Count: len(reads) + 1, Bytes: pipelineLimit / 2})
	commands := make([]*redis.XStreamSliceCmd, len(reads))
	err := c.onPrivate(ctx, 0, func(ctx context.Context, client privateClient) error {
		pipe := client.Pipeline()
		for i, read := range reads {
			commands[i] = read.command(ctx, pipe)
		}
		c.captured.armEach(len(reads), func(command int, reply []byte) {
			read := reads[command]
			c.decoder.start(reply)
			entries, err := c.decoder.streams()
			read.entries, read.size, read.err = slices.Clone(entries), len(reply), err
			c.decoder.reply = nil // the buffer may be freed
		})
		_, err := pipe.Exec(ctx)
		c.captured.disarm()
		c.captured.release()
		c.decoder.start(nil)
		return err
	})
	took := c.TransferTime()
	for i, read := range reads {
		read.took = took
		commandErr := err // there was no connection
		if commands[i] != nil {
			commandErr = commands[i].Err()
		}
		if read.err == nil && commandErr != nil && !noneWaiting(commandErr) {
			read.err = commandErr
		}
		if noneWaiting(read.err) {
			read.err = nil
		}
		if _, refused := errors.AsType[redis.Error](read.err); read.err != nil && (!refused || isOfReplica(read.err)) {
			failure = read.err
		}
		if redis.HasErrorPrefix(read.err, "ASK") {
			c.ask("") // it serves other slots, too
		}
	}
	return failure
}

// readEntries is part of readConn. While all connections are in use, reads with small replies wait for
// each other and share a pipeline, if what is cut off is not lost.
func (c *sharedConn) readEntries(ctx context.Context, block time.Duration, read readCommand) (entries []Entry, err error) {
	if c.large || c.limit.Bytes == 0 {
		return c.readAlone(ctx, block, read)
	}
	server, err := c.conns.serverOf(ctx, c.key)
	if err != nil {
		return nil, err
	}
	select {
	case conn := <-server.free:
		err = c.on(server, server.take(conn), c.reading(ctx, block, read, &entries))
		return entries, err
	default:
	}
	shared := &sharedRead{command: read, done: make(chan struct{})}
	if err := c.send(ctx, server, shared); err != nil {
		return nil, err
	}
	c.took, c.large = shared.took, shared.size > smallReply || errors.Is(shared.err, ErrTooLarge)
	if _, ask := redis.IsAskError(shared.err); ask {
		return c.readAlone(ctx, block, read)
	}
	c.notice(server, shared.err)
	return shared.entries, shared.err
}

// send has a read sent, and waits for its reply.
func (c *sharedConn) send(ctx context.Context, server *readServer, read *sharedRead) error {
	select {
	case server.reads <- read:
	case <-server.ended.Done():
		return errInterrupted
	case <-c.stopped:
		return errInterrupted
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-read.done:
		return nil
	case <-server.ended.Done():
	case <-c.stopped:
	}
	if !read.sent.Swap(true) {
		return errInterrupted
	}
	timer := time.NewTimer(hangUpGrace) // the reply may have entries
	defer timer.Stop()
	select {
	case <-read.done:
		return nil
	case <-timer.C:
		return errInterrupted
	}
}

// readAlone runs a read on a connection that it borrows.
func (c *sharedConn) readAlone(ctx context.Context, block time.Duration, read readCommand) (entries []Entry, err error) {
	err = c.borrow(ctx, c.reading(ctx, block, read, &entries))
	return entries, err
}

// reading returns what runs a read on a connection.
func (c *sharedConn) reading(ctx context.Context, block time.Duration, read readCommand, entries *[]Entry) func(*privateConn) error {
	return func(conn *privateConn) (err error) {
		*entries, err = conn.readEntries(ctx, block, read)
		c.large = conn.read.Load() > smallReply
		return err
	}
}
