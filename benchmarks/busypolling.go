package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/busypoll"
	"github.com/redis/go-redis/v9"
)

// pollTimes are compared. Without polling, a reader parks at once.
var pollTimes = []time.Duration{
	0, 20 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
}

// surroundings are where the client runs.
var surroundings = []struct {
	name  string
	busy  bool          // other processes keep all cores busy
	delay time.Duration // of the link, in each direction
}{
	{name: "idle cores"},
	{name: "busy cores", busy: true},
	{name: "1 ms away", delay: time.Millisecond},
}

// busyPollWorks are done with each time. The second figure is the CPU time of this process.
var busyPollWorks = []struct {
	name string
	unit unit
	do   func(lib library) measurement
}{
	{"Publish of 1, 1 goroutine", perSecond, func(lib library) measurement { return publishing(lib, 1, 1) }},
	{"Publish of 1, 16 goroutines", perSecond, func(lib library) measurement { return publishing(lib, 1, 16) }},
	{"1 strict subscription on a backlog", perSecond, func(lib library) measurement { return draining(lib, 1) }},
	{"end-to-end latency at 500 messages/s, p50", duration, latency},
}

// benchBusyPolling writes a table to w and the page to the file out.
func benchBusyPolling(w io.Writer, rounds int, out string) error {
	server, err := launchRedis("--appendonly", "no")
	if err != nil {
		return err
	}
	defer server.stop()
	stopOnSignal(server)
	machine, err := describe(server)
	if err != nil {
		return err
	}
	var page strings.Builder
	fmt.Fprintf(&page, `# Busy-polling

Written by `+"`go run . -busypoll`"+` on %s: %s.

Medians of %d interleaved rounds. A column is how long a reader polls at most before it parks. The figure behind the
slash is the CPU time of this process in the measurement, which 1 ms away has the link in it. "busy cores": as many
processes as there are cores do nothing but compute.
`, time.Now().Format(time.DateOnly), machine, rounds)
	for _, surrounding := range surroundings {
		table, err := busyPollTable(server, rounds, surrounding.busy, surrounding.delay)
		if err != nil {
			return fmt.Errorf("%s: %w", surrounding.name, err)
		}
		fmt.Fprintf(&page, "\n## %s\n\n%s", surrounding.name, table)
	}
	_, err = io.WriteString(w, page.String())
	return errors.Join(err, os.WriteFile(out, []byte(page.String()), 0o600))
}

func busyPollTable(server *redisBroker, rounds int, busy bool, delay time.Duration) (string, error) {
	if busy {
		stop, err := keepCoresBusy()
		if err != nil {
			return "", err
		}
		defer stop()
	}
	var table strings.Builder
	table.WriteString("| work |")
	for _, pollTime := range pollTimes {
		fmt.Fprintf(&table, " %s |", pollTime)
	}
	table.WriteString("\n|" + strings.Repeat(" --- |", len(pollTimes)+1) + "\n")
	for _, work := range busyPollWorks {
		figures, cpu := make([][]float64, len(pollTimes)), make([][]float64, len(pollTimes))
		for range rounds {
			for i, pollTime := range pollTimes {
				before := cpuTime()
				all, err := measure(server, delay, full, work.do(pollingLibrary(pollTime)))
				if err != nil {
					return "", fmt.Errorf("%s: %w", work.name, err)
				}
				figures[i], cpu[i] = append(figures[i], all[0]), append(cpu[i], (cpuTime()-before).Seconds())
			}
		}
		fmt.Fprintf(&table, "| %s |", work.name)
		for i := range pollTimes {
			fmt.Fprintf(&table, " %s / %s |", work.unit.write(median(figures[i])), duration.write(median(cpu[i])))
		}
		table.WriteString("\n")
	}
	return table.String(), nil
}

// pollingLibrary is this library with a client that polls for the given time; 0: it does not.
func pollingLibrary(pollTime time.Duration) redisLibrary {
	lib := ourLibrary
	lib.connect = func(addr string, poolSize int) (redis.UniversalClient, error) {
		client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: poolSize})
		if pollTime > 0 {
			busypoll.PollTime = pollTime
			redisstream.EnableBusyPolling(client)
		}
		return client, nil
	}
	return lib
}

// keepCoresBusy starts a process for each core that does nothing but compute.
func keepCoresBusy() (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var processes []*exec.Cmd
	stop = func() {
		cancel()
		for _, process := range processes {
			_ = process.Wait() // it was killed
		}
	}
	for range runtime.NumCPU() {
		process := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := process.Start(); err != nil {
			stop()
			return nil, err
		}
		processes = append(processes, process)
	}
	return stop, nil
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
