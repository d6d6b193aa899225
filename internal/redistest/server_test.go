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

// Two faults kill a server, one while the other lasts, and both restart it.
func TestRelaunch_runsAlready(t *testing.T) {
	t.Parallel()
	server := Start(t)
	server.Kill()
	server.Kill()
	launched := make(chan error, 2)
	for range 2 {
		go func() { launched <- server.Relaunch() }()
	}
	for range 2 {
		require.NoError(t, Within(t, "a start", launched))
	}
	require.NoError(t, server.Relaunch())
	require.NoError(t, server.Client(t).Ping(t.Context()).Err())
	server.Kill()
	require.Error(t, server.Client(t).Ping(t.Context()).Err(), "one process was killed, and there is no other")
}
