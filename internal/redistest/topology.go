package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// StartCluster starts a cluster of one server that holds all slots; it is stopped when the test ends.
func StartCluster(tb testing.TB) *Server {
	tb.Helper()
	// The default port of the cluster's bus, 10000 above, may be none.
	server := Start(tb, "--cluster-enabled", "yes", "--cluster-port", freePort())
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	ctx := context.Background()
	if err := client.ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		tb.Fatal(err)
	}
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err := client.Set(ctx, "probe", "", 0).Err(); err == nil {
			return server
		}
	}
	tb.Fatal("the cluster on " + server.Addr + " is not up in time")
	return nil
}

// StartSentinel starts a Sentinel that watches master under a name; further lines go to its
// configuration. It is stopped when the test ends.
func StartSentinel(tb testing.TB, name string, master *Server, lines ...string) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		tb.Fatal(err)
	}
	port := freePort()
	server := &Server{Addr: "127.0.0.1:" + port, Dir: dir}
	tb.Cleanup(server.Remove)
	host, masterPort, err := net.SplitHostPort(master.Addr)
	if err != nil {
		tb.Fatal(err)
	}
	config := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\npidfile %s\nlogfile %s\ndaemonize yes\nsentinel monitor %s %s %s 1\n",
		port, dir, server.pidfile(), filepath.Join(dir, "log"), name, host, masterPort)
	config += strings.Join(lines, "\n")
	file := filepath.Join(dir, "sentinel.conf") // Sentinel rewrites it
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	server.args = []string{file, "--sentinel"}
	if err := server.start(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		tb.Fatalf("%v\n%s", err, log)
	}
	return server
}
