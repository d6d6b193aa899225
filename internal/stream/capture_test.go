package stream

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	anyList = "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$3\r\n\r\nb\r\n"
	anyPush = ">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n"
)

// newCapture returns a capture of a connection that has introduced itself.
func newCapture(conn io.Reader) (*capture, *captured) {
	replies := &captured{}
	replies.ready.Store(true)
	return &capture{captured: replies, conn: conn}, replies
}

func TestCapture_takesOneListAndPassesTheRest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sent, taken, passed string }{
		"a list":              {anyList, anyList, "*0\r\n"},
		"a map":               {"%1\r\n+a\r\n*0\r\n", "%1\r\n+a\r\n*0\r\n", "*0\r\n"},
		"with an attribute":   {"|1\r\n+a\r\n:1\r\n" + anyList, "|1\r\n+a\r\n:1\r\n" + anyList, "*0\r\n"},
		"an empty list":       {"*0\r\n", "*0\r\n", "*0\r\n"},
		"nil":                 {"*-1\r\n", "", "*-1\r\n"},
		"nil of RESP 3":       {"_\r\n", "", "_\r\n"},
		"an error":            {"-NOGROUP gone\r\n", "", "-NOGROUP gone\r\n"},
		"a long error":        {"!4\r\nE\r\nF\r\n", "", "!4\r\nE\r\nF\r\n"},
		"a push before":       {anyPush + anyList, anyList, anyPush + "*0\r\n"},
		"a push behind":       {anyList + anyPush, anyList, "*0\r\n" + anyPush},
		"a reply before":      {"+OK\r\n" + anyList, anyList, "+OK\r\n*0\r\n"},
		"the next reply":      {anyList + anyList, anyList, "*0\r\n" + anyList},
		"an error and a list": {"-NOSCRIPT none\r\n" + anyList, anyList, "-NOSCRIPT none\r\n*0\r\n"},
	} {
		for _, pieces := range []func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
		} {
			c, replies := newCapture(pieces(bytes.NewReader([]byte(test.sent))))
			replies.arm()
			passed, err := io.ReadAll(iotest.OneByteReader(c))
			require.NoError(t, err, name)
			assert.Equal(t, test.passed, string(passed), name)
			reply, taken := replies.disarm()
			assert.Equal(t, test.taken != "", taken, name)
			assert.Equal(t, test.taken, string(reply), name)
			replies.release()
		}
	}
}

func TestCapture_takesTheListOfEachCommand(t *testing.T) {
	t.Parallel()
	sent := anyPush + anyList + "-NOGROUP gone\r\n" + "_\r\n" + anyPush + "%1\r\n+a\r\n*0\r\n" + "*-1\r\n" + anyList + "*0\r\n"
	const commands = 6 // the last list is another reply
	for _, pieces := range []func(io.Reader) io.Reader{
		func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader,
	} {
		c, replies := newCapture(pieces(bytes.NewReader([]byte(sent))))
		taken := make(map[int]string)
		replies.armEach(commands, func(command int, reply []byte) { taken[command] = string(reply) })
		passed, err := io.ReadAll(c)
		require.NoError(t, err)
		assert.Equal(t, anyPush+"*0\r\n-NOGROUP gone\r\n_\r\n"+anyPush+"*0\r\n*-1\r\n*0\r\n*0\r\n", string(passed))
		assert.Equal(t, map[int]string{0: anyList, 3: "%1\r\n+a\r\n*0\r\n", 5: anyList}, taken)
		replies.disarm()
		replies.release()
	}
}

func TestCapture_passesEverythingUnlessItIsArmed(t *testing.T) {
	t.Parallel()
	c, _ := newCapture(bytes.NewReader([]byte(anyList)))
	passed, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, anyList, string(passed))

	c, replies := newCapture(bytes.NewReader([]byte(anyList)))
	replies.ready.Store(false) // the handshake has lists, too
	replies.arm()
	passed, err = io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, anyList, string(passed))
}

func TestCapture_errorsOfTheConnection(t *testing.T) {
	t.Parallel()
	failure := errors.New("failure")
	for n := range len(anyList) {
		c, replies := newCapture(io.MultiReader(bytes.NewReader([]byte(anyList[:n])), iotest.ErrReader(failure)))
		replies.arm()
		_, err := c.Read(make([]byte, 100))
		require.ErrorIs(t, err, failure, n)
		_, taken := replies.disarm()
		assert.False(t, taken)
	}
	c, replies := newCapture(bytes.NewReader([]byte("*1\n" + anyList)))
	replies.arm()
	_, err := c.Read(make([]byte, 100))
	require.ErrorIs(t, err, errMalformed)
}

// A length may be a lie, so the buffer grows only with the bytes that come.
func TestCapture_bufferGrowsWithWhatComes(t *testing.T) {
	t.Parallel()
	c, replies := newCapture(bytes.NewReader([]byte("*1\r\n$1000000000000\r\nabc")))
	replies.arm()
	_, err := c.Read(make([]byte, 100))
	require.ErrorIs(t, err, io.EOF)
	assert.LessOrEqual(t, cap(c.buffer), minBuffer)

	large := append([]byte("*1\r\n$1000000\r\n"), make([]byte, 1_000_002)...)
	c, replies = newCapture(io.MultiReader(bytes.NewReader(large), bytes.NewReader([]byte("*-1\r\n*-1\r\n"))))
	replies.arm()
	_, err = c.Read(make([]byte, 100))
	require.NoError(t, err)
	reply, _ := replies.disarm()
	require.Equal(t, large, reply)
	assert.Less(t, cap(c.buffer), 2*len(large))
	replies.release()

	replies.arm() // nothing is waiting
	_, err = c.Read(make([]byte, 100))
	require.NoError(t, err)
	_, taken := replies.disarm()
	require.False(t, taken)
	replies.release()
	assert.LessOrEqual(t, cap(c.buffer), 8, "an idle subscription holds no buffer")
	assert.Nil(t, c.pass, "nor a part of one")

	waiting, replies := newCapture(iotest.ErrReader(io.EOF))
	replies.arm()
	_, err = waiting.Read(make([]byte, 100))
	require.ErrorIs(t, err, io.EOF)
	assert.Zero(t, cap(waiting.buffer), "it waits without one")
}
