package redistest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server whose port another one took does not run, though the other one answers on it.
func TestStart_portIsTaken(t *testing.T) {
	t.Parallel()
	first := Start(t)
	second := &Server{Addr: first.Addr, Dir: t.TempDir()}
	second.args = append(second.args, first.args...)
	for i, arg := range second.args {
		switch arg {
		case first.Dir:
			second.args[i] = second.Dir
		case first.pidfile():
			second.args[i] = second.pidfile()
		case first.logfile():
			second.args[i] = second.logfile()
		}
	}
	require.ErrorIs(t, second.start(), errPort)
	require.NoError(t, first.Client(t).Ping(t.Context()).Err())

	first.Kill()
	require.NoError(t, second.start(), "what its log says of an earlier start counts no more")
	second.Kill()
	_, err := os.Stat(second.pidfile())
	require.ErrorIs(t, err, os.ErrNotExist)
}
