package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// describe returns the environment of the figures: the machine, Go and the server.
func describe(addr string) string {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	info := client.Info(context.Background(), "server").Val()
	server := "Redis " + infoField(info, "redis_version")
	if version := infoField(info, "valkey_version"); version != "" {
		server = "Valkey " + version
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s", cpuModel(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), server)
}

// cpuModel returns the name of the processor on Linux.
func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// infoField returns a field of the text of INFO; empty: it is missing.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key == name {
			return value
		}
	}
	return ""
}

// infoNumber returns a number from a reply to INFO.
func infoNumber(reply *redis.StringCmd, name string) (float64, error) {
	if reply.Err() != nil {
		return 0, reply.Err()
	}
	return strconv.ParseFloat(infoField(reply.Val(), name), 64)
}
