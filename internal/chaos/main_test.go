package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestMain runs a worker if this process was started as one.
func TestMain(m *testing.M) {
	if !isWorker() {
		redis.SetLogger(silence{})
		redistest.Main(m)
		return
	}
	if err := runWorker(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
