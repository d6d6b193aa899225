package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// describe returns the environment of the figures: the machine, Go and the servers.
func describe(brokers ...broker) (string, error) {
	words := []string{cpuModel(), fmt.Sprintf("%d cores", runtime.NumCPU()), runtime.GOOS + "/" + runtime.GOARCH, runtime.Version()}
	for _, b := range brokers {
		version, err := b.version()
		if err != nil {
			return "", err
		}
		if !slices.Contains(words, version) {
			words = append(words, version)
		}
	}
	return strings.Join(words, ", "), nil
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

// loadAverage returns how many processes ran or waited to run in the last minute, on Linux.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	average, _, _ := strings.Cut(string(text), " ")
	return average
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
