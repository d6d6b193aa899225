// Package redistest starts private Redis servers for tests, on free ports, and stops them.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNoServer reports that no server binary was found.
var ErrNoServer = errors.New("no redis-server found: run `make test`, which installs it, or put it on the PATH, " +
	"or name a binary in REDIS_SERVER (apt-get install redis-server; brew install redis)")

// Binary returns the server binary: REDIS_SERVER, else redis-server or valkey-server on the PATH.
func Binary() (string, error) {
	if path := os.Getenv("REDIS_SERVER"); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("REDIS_SERVER: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoServer
}

// startTimeout is how long a server may take to answer, on a busy machine.
const startTimeout = 20 * time.Second

// Durable makes a server write each command to disk. Without it, Kill may lose the writes of the
// last second.
var Durable = []string{"--appendfsync", "always"}

// Server is a private server. It writes an append-only file, so that its data survives Kill and
// Restart.
type Server struct {
	Addr      string // host:port
	TLSAddr   string // of StartTLS
	Dir       string
	args      []string
	env       []string   // added to this process's
	launching sync.Mutex // one Relaunch at a time
	clock     string     // file with the offset of its clock; empty: the machine's clock
}

// Start starts a server with these arguments, such as "--maxmemory", "10mb". It is stopped when the
// test ends.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	server, err := Launch(args...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Remove)
	return server
}

// Launch starts a server outside of a test; the caller calls Remove.
func Launch(args ...string) (*Server, error) {
	return launch(func(*Server) error { return nil }, args)
}

func launch(prepare func(s *Server) error, args []string) (*Server, error) {
	if _, err := Binary(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return nil, err
	}
	for range 5 { // another process may take the free port first
		port := FreePort()
		server := &Server{Addr: "127.0.0.1:" + port, Dir: dir}
		server.args = append([]string{
			"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--pidfile", server.pidfile(),
			"--logfile", server.logfile(), "--daemonize", "yes", "--save", "", "--appendonly", "yes",
			"--enable-debug-command", "yes",
		}, args...)
		if err := prepare(server); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		if err = server.start(); err == nil {
			return server, nil
		}
		server.Kill()
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	return nil, errors.Join(fmt.Errorf("%w\n%s", err, log), os.RemoveAll(dir))
}

// FreePort returns an unused port. It is below the ports that a system assigns to clients (32768 on
// Linux, 49152 elsewhere), so that no client gets it while its server restarts.
func FreePort() string {
	for {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if listener, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = listener.Close()
			return port
		}
	}
}

func (s *Server) pidfile() string { return filepath.Join(s.Dir, "pid") }

func (s *Server) logfile() string { return filepath.Join(s.Dir, "log") }

func (s *Server) start() error {
	binary, err := Binary()
	if err != nil {
		return err
	}
	command := exec.Command(binary, s.args...)
	command.Env = append(os.Environ(), s.env...)
	before, _ := os.ReadFile(s.logfile()) // of an earlier process
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", binary, err, out)
	}
	return s.wait(len(before))
}

var (
	errNotReady = errors.New("its log does not report that it is ready")
	errPort     = errors.New("its port is taken")
)

// wait waits until the server answers and its log, after the first logged bytes, reports that it
// listens. Without the log, the answer may come from another server that took the port first.
func (s *Server) wait(logged int) error {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	err := errNotReady
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		log, _ := os.ReadFile(s.logfile())
		switch text := string(log[min(logged, len(log)):]); {
		case strings.Contains(text, "Failed listening on port"):
			return fmt.Errorf("server on %s: %w", s.Addr, errPort)
		case !strings.Contains(text, "Ready to accept connections") && !strings.Contains(text, "Sentinel ID is"):
			continue
		}
		if err = client.Ping(context.Background()).Err(); err == nil || strings.HasPrefix(err.Error(), "NOAUTH") {
			return nil
		}
	}
	return fmt.Errorf("server on %s does not answer: %w", s.Addr, err)
}

func (s *Server) signal(sig syscall.Signal) error {
	text, err := os.ReadFile(s.pidfile())
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}

// Kill ends the server as a crash would, and returns when its port is closed.
func (s *Server) Kill() {
	_ = s.signal(syscall.SIGKILL) // it may be killed already
	for range 1000 {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			break
		}
		conn.Close()
		time.Sleep(time.Millisecond)
	}
	_ = os.Remove(s.pidfile())
}

// Restart starts the server again with its data, on the same port.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.Relaunch(); err != nil {
		tb.Fatal(err)
	}
}

// Relaunch is Restart outside of a test. It does nothing if the server runs: another caller
// restarted it.
func (s *Server) Relaunch() error {
	s.launching.Lock()
	defer s.launching.Unlock()
	if s.signal(0) == nil {
		return nil
	}
	return s.start()
}

// Pause stops the server's process until Resume: connections are accepted, but nothing is answered.
func (s *Server) Pause() { _ = s.signal(syscall.SIGSTOP) }

// Resume continues a paused server.
func (s *Server) Resume() { _ = s.signal(syscall.SIGCONT) }

// Remove kills the server and removes its data.
func (s *Server) Remove() {
	s.Kill()
	_ = os.RemoveAll(s.Dir)
}

// RestartCommand returns a command that kills the server and starts it again with its data.
func (s *Server) RestartCommand(tb testing.TB) []string {
	tb.Helper()
	binary, err := Binary()
	if err != nil {
		tb.Fatal(err)
	}
	script := filepath.Join(s.Dir, "restart.sh")
	words := append([]string{"exec", "env"}, quoted(s.env)...)
	words = append(words, quoted(append([]string{binary}, s.args...))...)
	text := fmt.Sprintf("kill -9 $(cat %[1]s)\nwhile kill -0 $(cat %[1]s) 2>/dev/null; do sleep 0.01; done\n", s.pidfile())
	if err := os.WriteFile(script, []byte(text+strings.Join(words, " ")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return []string{"bash", script}
}

// quoted quotes words for a shell.
func quoted(words []string) []string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return list
}

// Client returns a client of the server with go-redis's defaults, changed by the functions. It is
// closed when the test ends.
func (s *Server) Client(tb testing.TB, change ...func(*redis.Options)) *redis.Client {
	tb.Helper()
	options := &redis.Options{Addr: s.Addr}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClient(options)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}
