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

// protocolError is what a server sends before it closes a connection whose input it can't parse,
// such as a value that is too long.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// process runs one command. A server closes the connection after a value that is too long, but
// go-redis does not know that and would use the connection for the next command. So the reply to a
// long value is read here.
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

// longReply receives the reply to one command.
type longReply struct{ bytes.Buffer }

// Write fails with the error of the server, so that go-redis gets it. go-redis closes a connection
// after any error that is not the server's.
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

// explained adds to an error why the connection may have been closed while a message was written.
// The server's own text names only its protocol, if it comes at all.
func (a *AddRequest) explained(err error) error {
	closed := brokeOff(err) && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
	if !closed && !redis.HasErrorPrefix(err, "Protocol error") {
		return err
	}
	if _, size := a.Fields.Sizes(); size >= leastLimit {
		return fmt.Errorf("a value of %d bytes is perhaps longer than the server's proto-max-bulk-len: %w", size, err)
	}
	return err
}
