//go:build unix

package awake

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

const supported = true

// stayAwake reads what comes before patience ends. Nothing: n is 0.
func (c *conn) stayAwake(p []byte) (n int, err error) {
	began := time.Now()
	for polls := 1; ; polls++ {
		n, err := c.poll(p)
		if n > 0 || err != nil || time.Since(began) >= patience {
			return n, err
		}
		if polls%pollsPerTurn == 0 {
			runtime.Gosched()
		}
	}
}

// poll reads what is there.
func (c *conn) poll(p []byte) (n int, err error) {
	var failure error
	err = c.raw.Read(func(fd uintptr) bool {
		n, failure = syscall.Read(int(fd), p)
		return true // not to wait until there is something
	})
	switch {
	case err != nil: // closed, or after the deadline
		return 0, c.readError(err)
	case failure == nil && n == 0:
		return 0, io.EOF
	case failure == nil:
		return n, nil
	case errors.Is(failure, syscall.EAGAIN), errors.Is(failure, syscall.EINTR):
		return 0, nil
	default:
		return 0, c.readError(os.NewSyscallError("read", failure))
	}
}

// readError is what the socket's own Read returns.
func (c *conn) readError(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
