package stream

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReceived(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", longestName+1)
	for sent, want := range map[string]received{
		":5\r\n":                             {},
		"+PONG\r\n":                          {},
		"-MOVED 1 host:1\r\n":                {failed: true},
		"!3\r\nERR\r\n":                      {failed: true},
		"*2\r\n:1\r\n$1\r\na\r\n":            {},
		">2\r\n$10\r\ninvalidate\r\n_\r\n":   {push: true, all: true},
		">2\r\n$10\r\ninvalidate\r\n*-1\r\n": {push: true, all: true},
		">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$2\r\nb\n\r\n":   {push: true, keys: []string{"a", "b\n"}},
		">2\r\n$10\r\ninvalidate\r\n*1\r\n$65537\r\n" + long + "\r\n": {push: true, keys: []string{""}},
		">3\r\n$7\r\nmessage\r\n%1\r\n+a\r\n:1\r\n*1\r\n$1\r\nx\r\n":  {push: true},
		">1\r\n$20\r\ntracking-redir-broke\r\n":                       {push: true},
	} {
		reader := bufio.NewReader(strings.NewReader(sent + ":7\r\n"))
		var got received
		require.NoError(t, got.read(reader), "%.50q", sent)
		if len(got.keys) == 0 {
			got.keys = nil
		}
		assert.Equal(t, want, got, "%.50q", sent)
		rest, err := reader.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, ":7\r\n", rest, "%.50q", sent)
	}
}

func TestReceived_malformed(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{
		"", "x\r\n", ":1\n", ">0\r\n", ">x\r\n", ">2\r\n$10\r\ninvalid", "*99999999999999999999\r\n",
		strings.Repeat("*1\r\n", 100), ":" + strings.Repeat("1", 1<<20),
	} {
		var got received
		require.Error(t, got.read(bufio.NewReader(strings.NewReader(sent))), "%.50q", sent)
	}
}
