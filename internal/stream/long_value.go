package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// leastLimit is the smallest value that proto-max-bulk-len can have.
const leastLimit = 1 << 20

// protocolError is what a server says before it closes the connection, because it did not understand what it read: a value
// that is too long for it, for example.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// process runs one command. A server closes the connection of one that is too long for it, but go-redis takes its reply for one
// like any other, and gives the connection to the next command. So the reply to a long one is read by ourselves.
func (a *Adder) process(ctx context.Context, command once, longest int) error {
	if longest < leastLimit {
		return a.client.Process(ctx, command)
	}
	var reply longReply
	err := a.client.Process(ctx, redis.NewRawWriteToCmd(ctx, &reply, command.Args()...))
	if refusal, ok := errors.AsType[protocolError](err); ok {
		return ownError(refusal)
	}
	if err == nil {
		command.SetVal(reply.id())
	}
	return err
}

// longReply takes the reply to one command as it comes.
type longReply struct{ bytes.Buffer }

// Write fails with what the server refused, so that go-redis sees it. A connection with any other error than the
// server's it does not use again.
func (r *longReply) Write(reply []byte) (int, error) {
	refusal, refused := strings.CutPrefix(string(reply), "-")
	if r.Len() > 0 || !refused {
		return r.Buffer.Write(reply)
	}
	if strings.Contains(refusal, "Protocol error") {
		return 0, protocolError(refusal)
	}
	return 0, ownError(refusal)
}

// id returns the ID in a reply like "$15\r\n1700000000000-0\r\n".
func (r *longReply) id() string {
	_, id, _ := strings.Cut(r.String(), "\r\n")
	return strings.TrimSuffix(id, "\r\n")
}

// explained says what may have closed the connection while a message was written: the server tells it if at all in words of
// its protocol.
func (a *AddRequest) explained(err error) error {
	closed := brokeOff(err) && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
	if !closed && !redis.HasErrorPrefix(err, "Protocol error") {
		return err
	}
	if size := a.longest(); size >= leastLimit {
		return fmt.Errorf("a value of %d bytes is perhaps longer than the server's proto-max-bulk-len: %w", size, err)
	}
	return err
}

// longest returns the length of the longest field.
func (a *AddRequest) longest() (longest int) {
	for _, field := range a.Fields {
		switch field := field.(type) {
		case string:
			longest = max(longest, len(field))
		case []byte:
			longest = max(longest, len(field))
		}
	}
	return longest
}
