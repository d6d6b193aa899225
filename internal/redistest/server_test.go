package redistest

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// When another server has the port, Start fails, although the other server answers.
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
	require.NoError(t, second.start(), "log lines of an earlier start do not count")
	second.Kill()
	_, err := os.Stat(second.pidfile())
	require.ErrorIs(t, err, os.ErrNotExist)
}
