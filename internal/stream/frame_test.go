package stream

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFrame_malformed(t *testing.T) {
	t.Parallel()
	deep := bytes.Repeat([]byte("*1\r\n"), maxDepth+1)
	for _, reply := range []string{"\r\n", "x\r\n", "*x\r\n", "*-2\r\n", "$99999999999999999999\r\n", "*1\n", string(deep), "%4611686018427387904\r\n"} {
		var f frame
		complete, err := f.scan([]byte(reply))
		require.ErrorIs(t, err, errMalformed, "%.100q", reply)
		assert.False(t, complete)
	}
	var f frame
	_, err := f.scan(bytes.Repeat([]byte("+"), maxLine+1))
	require.ErrorIs(t, err, errMalformed)
}
