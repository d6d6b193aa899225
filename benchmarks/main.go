// Command benchmarks compares this library with watermill-redisstream 1.4.5 and with hand-written
// go-redis loops, on a private server, and prints one table of one interleaved run:
//
//	go run .          # nine rounds; writes RESULTS.md and results.svg as well
//	go run . -peers all # measures libraries on other servers instead; writes PEERS.md
//	go run . -busypoll # measures busy-polling instead; writes BUSYPOLL.md
//	go run . -partitions # measures topics with partitions in a cluster instead; writes PARTITIONS.md; see make bench-partitions
//	go run . -readconnections # measures shared read connections instead; writes READCONNECTIONS.md
//	go run . -draw    # draws the figures in RESULTS.md again, without measuring
//	go run . -quick   # everything once with tiny counts: only checks that it works
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
)

// pages are written by runs of their own.
var pages = []struct {
	flag, what, out string
	measure         func(w io.Writer, rounds int, out string) error
}{
	{"busypoll", "busy-polling", "BUSYPOLL.md", benchBusyPolling},
	{"partitions", "topics with partitions in a cluster", "PARTITIONS.md", benchPartitions},
	{"readconnections", "shared read connections", "READCONNECTIONS.md", benchReadConnections},
}

func main() {
	quick := flag.Bool("quick", false, "run everything once with tiny counts: only checks that it works, writes no file")
	rounds := flag.Int("rounds", 9, "number of rounds")
	out := flag.String("out", "RESULTS.md", "the file to write; its chart is written beside it")
	draw := flag.Bool("draw", false, "measure nothing; draw the figures in the file again")
	peers := flag.String("peers", "", "all: measure libraries on other servers instead, and write PEERS.md")
	only := flag.String("only", "", "measure only works with a row that matches this regular expression; no file is written")
	asked := make([]*bool, len(pages))
	for i, page := range pages {
		asked[i] = flag.Bool(page.flag, false, "measure "+page.what+" instead, and write "+page.out)
	}
	flag.Parse()

	if *draw {
		exitOn(writeChart(*out))
		return
	}
	logging.Disable() // go-redis logs each read that the peer's Close interrupts

	for i, page := range pages {
		if *asked[i] {
			exitOn(page.measure(os.Stdout, *rounds, page.out))
			return
		}
	}

	pattern, err := regexp.Compile(*only)
	exitOn(err)
	plan := plan{works: allWorks(), only: pattern, rounds: *rounds, scale: full}
	if *quick {
		plan.rounds, plan.scale = 1, tiny
		exitOn(bench(os.Stdout, plan, ""))
		exitOn(benchPeers(os.Stdout, plan, "", false))
		return
	}
	peersOut := "PEERS.md"
	if *only != "" {
		*out, peersOut = "", ""
	}
	switch *peers {
	case "":
		exitOn(bench(os.Stdout, plan, *out))
	case "all":
		exitOn(benchPeers(os.Stdout, plan, peersOut, true))
	default:
		exitOn(fmt.Errorf("-peers %s: only all is known", *peers))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// allWorks returns the works in the order of the table.
func allWorks() []work {
	return slices.Concat(publishWorks(), subscribeWorks(), latencyWorks(), slowLinkWorks(), sharingWorks(), idleWorks(), closingWorks(), memoryWorks())
}

// bench runs a plan on a private server. It writes the table to w, the page to the file out, and
// the chart beside that file.
func bench(w io.Writer, p plan, out string) error {
	server, err := launchRedis("--appendonly", "no")
	if err != nil {
		return err
	}
	defer server.stop()
	stopOnSignal(server)
	p.brokers = []broker{ours: server, peer: server, limit: server}

	report := report{rounds: p.rounds}
	if report.machine, err = describe(server); err != nil {
		return err
	}
	if report.results, err = p.compete(); err != nil {
		return err
	}
	if _, err := io.WriteString(w, report.table()); err != nil || out == "" {
		return err
	}
	if err := os.WriteFile(out, []byte(report.markdown()), 0o600); err != nil {
		return err
	}
	return writeChart(out)
}

// stopOnSignal stops the servers when the program is interrupted: they are other processes and would
// go on.
func stopOnSignal(servers ...broker) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		for _, server := range servers {
			server.stop()
		}
		os.Exit(1)
	}()
}
