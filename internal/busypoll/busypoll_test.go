//go:build unix

package busypoll

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waiting returns a Poller with a command in flight.
func waiting(t *testing.T) *Poller {
	t.Helper()
	p := new(Poller)
	require.True(t, p.Begin(t.Context()))
	return p
}

// pair returns both ends of a connection. Our end is wrapped.
func pair(t *testing.T, network, address string) (ours, theirs net.Conn) {
	t.Helper()
	listener, err := net.Listen(network, address)
	require.NoError(t, err)
	defer listener.Close()
	dialled, err := net.Dial(network, listener.Addr().String())
	require.NoError(t, err)
	theirs, err = listener.Accept()
	require.NoError(t, err)
	ours = waiting(t).Wrap(dialled)
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

func TestWrap_isAConn(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": ""} {
		t.Run(network, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				if network == "unix" {
					address = filepath.Join(t.TempDir(), "socket")
				}
				c1, c2 = pair(t, network, address)
				return c1, waiting(t).Wrap(c2), func() { _, _ = c1.Close(), c2.Close() }, nil
			})
		})
	}
}

// The suite of nettest covers the failures that deadlines and our own Close cause.
func TestRead_failsAsTheSocketDoes(t *testing.T) {
	for name, linger := range map[string]int{"the other side closed": -1, "the other side cut": 0} {
		t.Run(name, func(t *testing.T) {
			failure := func(readerOf func(net.Conn) net.Conn) string {
				ours, theirs := pair(t, "tcp", "127.0.0.1:0")
				require.NoError(t, theirs.(*net.TCPConn).SetLinger(linger))
				require.NoError(t, theirs.Close())
				_, err := readerOf(ours).Read(make([]byte, 1))
				require.Error(t, err)
				assert.Equal(t, linger < 0, err == io.EOF, "io.EOF is returned as it is") //nolint:errorlint // identity is tested
				assert.Equal(t, linger == 0, errors.Is(err, syscall.ECONNRESET))
				ports := regexp.MustCompile(`:\d+`)
				return ports.ReplaceAllString(err.Error(), "")
			}
			assert.Equal(t,
				failure(func(ours net.Conn) net.Conn { return ours.(*conn).socket }),
				failure(func(ours net.Conn) net.Conn { return ours }))
		})
	}
}

func TestRead_pollsOnlyWhereItPays(t *testing.T) {
	ours, theirs := pair(t, "tcp", "127.0.0.1:0")
	c := ours.(*conn)
	send := func() {
		_, err := theirs.Write([]byte("reply"))
		require.NoError(t, err)
	}
	receive := func() {
		n, err := ours.Read(make([]byte, 10))
		assert.NoError(t, err)
		assert.Equal(t, 5, n)
	}
	receiveLate := func() {
		missed, skip := c.missed.Load(), c.skip.Load()
		done := make(chan struct{})
		go func() {
			defer close(done)
			receive()
		}()
		require.Eventually(t, func() bool { return c.missed.Load() > missed || c.skip.Load() < skip }, 5*time.Second, time.Millisecond)
		send()
		<-done
	}

	send()
	receive()
	assert.True(t, c.poller.Pays())
	receiveLate()
	assert.True(t, c.poller.Pays(), "one late reply changes nothing")
	assert.Zero(t, c.skip.Load())
	receiveLate()
	assert.False(t, c.poller.Pays())
	assert.Equal(t, int32(2), c.skip.Load())
	receiveLate()
	receiveLate()
	receiveLate()
	assert.Equal(t, int32(6), c.skip.Load(), "a further miss makes more reads park")
	for range 6 {
		send()
		receive()
	}
	assert.False(t, c.poller.Pays())
	send()
	receive()
	assert.True(t, c.poller.Pays())
	for c.missed.Load() > 0 {
		assert.Zero(t, c.skip.Load())
		send()
		receive()
	}

	c.poller.polling.Store(true)
	c.missed.Store(1)
	send()
	receive()
	assert.Equal(t, int32(1), c.missed.Load(), "only one reader at a time polls")
}

// A reader parks at once if nobody waits for a reply.
func TestRead_pollsOnlyForACommandInFlight(t *testing.T) {
	ours, theirs := pair(t, "tcp", "127.0.0.1:0")
	c := ours.(*conn)
	receive := func() {
		_, err := theirs.Write([]byte("reply"))
		require.NoError(t, err)
		_, err = ours.Read(make([]byte, 10))
		require.NoError(t, err)
	}
	c.missed.Store(2)
	c.poller.End()
	receive()
	assert.Equal(t, int32(2), c.missed.Load(), "no command")
	require.False(t, c.poller.Begin(Patient(t.Context())))
	receive()
	assert.Equal(t, int32(2), c.missed.Load(), "a patient one")
	require.True(t, c.poller.Begin(t.Context()))
	receive()
	assert.Equal(t, int32(1), c.missed.Load())
}

func TestRead_failureIsNoMiss(t *testing.T) {
	ours, theirs := pair(t, "tcp", "127.0.0.1:0")
	c := ours.(*conn)
	c.missed.Store(1)
	require.NoError(t, theirs.Close())
	_, err := ours.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, ours.Close())
	_, err = ours.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	assert.False(t, c.poller.Pays())
	assert.Equal(t, int32(1), c.missed.Load())
}

func TestWrap_leavesTLSAndItsOwnAlone(t *testing.T) {
	ours, _ := pair(t, "tcp", "127.0.0.1:0")
	assert.Same(t, ours, new(Poller).Wrap(ours))
	secure := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
	assert.Same(t, secure, new(Poller).Wrap(secure))
}

// Each client has its own Poller, which learns only from the client's own replies.
func TestPoller_sharesNothingWithOthers(t *testing.T) {
	t.Parallel()
	busy, _ := pair(t, "tcp", "127.0.0.1:0")
	busy.(*conn).poller.polling.Store(true)
	ours, theirs := pair(t, "tcp", "127.0.0.1:0")
	_, err := theirs.Write([]byte("reply"))
	require.NoError(t, err)
	_, err = ours.Read(make([]byte, 10))
	require.NoError(t, err)
	assert.True(t, ours.(*conn).poller.Pays())
	assert.False(t, busy.(*conn).poller.Pays())
}
