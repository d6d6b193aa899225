package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// contender is a library on a server: a column of PEERS.md.
type contender struct {
	name    string
	library library
	server  server
}

// league has contenders of about the same durability. Ours is the first.
type league struct {
	name       string
	durability string
	contenders []contender
}

// server is one of the servers that run at the same time.
type server int

const (
	redisEverySecond server = iota
	redisAlways
	natsEverySecond
	natsAlways
	postgreSQL
)

// launchers start the servers.
var launchers = [...]func() (broker, error){
	redisEverySecond: func() (broker, error) { return launchRedis("--appendfsync", "everysec") },
	redisAlways:      func() (broker, error) { return launchRedis("--appendfsync", "always") },
	natsEverySecond:  func() (broker, error) { return launchNATS("1s") },
	natsAlways:       func() (broker, error) { return launchNATS("always") },
	postgreSQL:       func() (broker, error) { return launchPostgreSQL() },
}

var leagues = []league{
	{
		name: "Synced each second",
		durability: `A message that Publish reported survives a crash of the server. A loss of power takes about the last second.

- **ours**, **watermill-redisstream**: Redis with ` + "`appendonly yes`, `appendfsync everysec`" + `.
- **watermill-nats**: JetStream with file storage and ` + "`sync_interval: 1s`" + `. Its default is 2 minutes.`,
		contenders: []contender{
			{"ours", ourLibrary, redisEverySecond},
			{"watermill-redisstream", peerLibrary, redisEverySecond},
			{"watermill-nats", natsLibrary{}, natsEverySecond},
			{"watermill-nats, AckAsync", natsLibrary{ackAsync: true}, natsEverySecond},
		},
	},
	{
		name: "Synced before Publish returns",
		durability: `A message that Publish reported survives a loss of power.

- **ours**, **watermill-redisstream**: Redis with ` + "`appendonly yes`, `appendfsync always`" + `. Acks are synced, too.
- **watermill-sql**: PostgreSQL with ` + "`fsync on`, `synchronous_commit on`" + `, its defaults. The ack of a batch is synced, too.
- **watermill-nats**: JetStream with file storage and ` + "`sync_interval: always`" + `. Acks are written in the background, up to ten
  times a second, also those of AckSync: after a crash, messages of the last 100 ms may come again.`,
		contenders: []contender{
			{"ours", ourLibrary, redisAlways},
			{"watermill-redisstream", peerLibrary, redisAlways},
			{"watermill-sql", sqlLibrary{}, postgreSQL},
			{"watermill-sql, tuned", sqlLibrary{pollInterval: 10 * time.Millisecond, batchSize: 1000}, postgreSQL},
			{"watermill-nats", natsLibrary{}, natsAlways},
			{"watermill-nats, AckAsync", natsLibrary{ackAsync: true}, natsAlways},
		},
	},
}

// peerWorks returns the works that make sense for all contenders.
func peerWorks(contenders []contender) []work {
	each := func(do func(library) measurement) entrants {
		by := make(entrants, len(contenders))
		for i, c := range contenders {
			by[i] = do(c.library)
		}
		return by
	}
	return []work{
		{
			rows: []row{{name: "Publish of 100 messages, 1 goroutine", unit: perSecond}},
			by:   each(func(lib library) measurement { return publishing(lib, 100, 1) }),
		},
		{
			rows: []row{{name: "Publish of 1, 1 goroutine", unit: perSecond}},
			by:   each(func(lib library) measurement { return publishing(lib, 1, 1) }),
		},
		{
			rows: []row{{name: "Publish of 1, 16 goroutines", unit: perSecond}},
			by:   each(func(lib library) measurement { return publishing(lib, 1, 16) }),
		},
		{
			rows: []row{{name: "1 subscription on a backlog of 40,000", unit: perSecond}},
			by:   each(func(lib library) measurement { return draining(lib, 1) }),
		},
		{
			rows: []row{
				{name: "end-to-end latency at 500 messages/s, p50", unit: duration},
				{name: "end-to-end latency at 500 messages/s, p99", unit: duration},
			},
			by: each(latency),
		},
		{
			rows: []row{
				{name: "2,000 messages of 16 goroutines: lost", unit: count},
				{name: "2,000 messages of 16 goroutines: delivered again", unit: count},
			},
			by: each(delivering),
		},
	}
}

// benchPeers measures the leagues. It writes their tables to w, and the page to the file out.
// Without PostgreSQL it leaves out watermill-sql and says so, or if all have to take part, it fails.
func benchPeers(w io.Writer, p plan, out string, all bool) error {
	load := loadAverage()
	servers, err := launchAll(all)
	if err != nil {
		return err
	}
	running := slices.DeleteFunc(slices.Clone(servers), func(b broker) bool { return b == nil })
	for _, b := range running {
		defer b.stop()
	}
	stopOnSignal(running...)
	machine, err := describe(running...)
	if err != nil {
		return err
	}
	var page strings.Builder
	page.WriteString(peersHead(machine, load, p.rounds))
	for _, league := range leagues {
		table, err := league.table(p, servers)
		if err != nil {
			return fmt.Errorf("%s: %w", league.name, err)
		}
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\n%s", league.name, league.durability, table)
		if _, err := io.WriteString(w, table+"\n"); err != nil {
			return err
		}
	}
	if out == "" {
		return nil
	}
	return os.WriteFile(out, []byte(page.String()), 0o600)
}

// launchAll starts the servers. PostgreSQL is nil if it is not installed and not all are needed.
func launchAll(all bool) ([]broker, error) {
	servers := make([]broker, len(launchers))
	for i, launch := range launchers {
		b, err := launch()
		if errors.Is(err, errNoPostgreSQL) && !all {
			fmt.Fprintf(os.Stderr, "watermill-sql does not take part: %v\n", err)
			continue
		}
		if err != nil {
			for _, started := range servers[:i] {
				started.stop()
			}
			return nil, err
		}
		servers[i] = b
	}
	return servers, nil
}

// table measures the contenders whose server runs.
func (l league) table(p plan, servers []broker) (string, error) {
	head, contenders := []string{"work"}, []contender{}
	for _, c := range l.contenders {
		if servers[c.server] != nil {
			head = append(head, c.name)
			contenders = append(contenders, c)
			p.brokers = append(p.brokers, servers[c.server])
		}
	}
	p.works = peerWorks(contenders)
	results, err := p.compete()
	if err != nil {
		return "", err
	}
	lines := [][]string{head}
	for _, result := range results {
		lines = append(lines, result.peersLine())
	}
	return aligned(lines), nil
}

// peersLine returns the figures with our ratio to each. Counts are sums.
func (r result) peersLine() []string {
	cells := []string{r.name}
	for c, figures := range r.figures {
		switch {
		case r.unit == count:
			sum := 0.0
			for _, figure := range figures {
				sum += figure
			}
			cells = append(cells, r.unit.write(sum))
		case contestant(c) == ours:
			cells = append(cells, cell(figures, r.unit.write))
		default:
			cells = append(cells, fmt.Sprintf("%s (%s)", cell(figures, r.unit.write), cell(r.ratios(contestant(c)), writeRatio)))
		}
	}
	return cells
}

// peersHead returns the beginning of PEERS.md.
func peersHead(machine, load string, rounds int) string {
	return fmt.Sprintf(`# Libraries on other servers

Written by `+"`make bench PEERS=all`"+` on %s: %s; %s.

Medians of %d rounds. The contenders of a table are measured in turn, round by round, each on a private server of one process on this machine.
Behind each figure is ours divided by it: the median of the rounds' own ratios. For a time, less than 1 means that we are faster.
The columns of a library differ in its subscriber only. What they differ in where they publish is noise of the machine and of its disk.
The load average before the run was %s. It is near 0 on a machine that does nothing else; on a busy one, take the figures for orders of magnitude.

Payloads have 256 bytes. Each table compares servers of one durability. Configurations are the defaults but for what is said here:

- **watermill-nats**: its package nats with JetStream, which its documentation recommends for production; the stream exists before; a durable
  consumer for the group, with the defaults AckWait 30 s, MaxAckPending 1,000 and NATSMarshaler. Each ack waits for a reply (AckSync).
  After a nack, later messages come before the redelivery; the other libraries keep the order.
  **AckAsync** waits for no reply. An ack that is lost makes the message come again after AckWait.
- **watermill-sql**: DefaultPostgreSQLSchema through pgx with 20 connections (go-redis has as many) and a BYTEA payload. The tables exist before.
  Its defaults are a PollInterval of 1 s and a SubscribeBatchSize of 100, of which each is acknowledged as a whole.
  **tuned** has a PollInterval of 10 ms and batches of 1,000: a crash redelivers up to 1,000 messages, and an idle subscription makes
  100 transactions a second.
- A subscription's speed is what the server knows to be acknowledged, the start included.
- 16 goroutines publish 2,000 messages in each round while a subscription handles them. Losses and repeated deliveries are sums of all rounds.
`, time.Now().Format(time.DateOnly), machine, strings.Join(peerVersions(), ", "), rounds, load)
}

// peerVersions returns the libraries of the contenders and their clients, with their versions.
func peerVersions() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var versions []string
	for _, dep := range info.Deps {
		for _, name := range []string{"watermill-redisstream", "watermill-nats/v2", "watermill-sql/v4", "nats.go", "pgx/v5", "go-redis/v9"} {
			if strings.HasSuffix(dep.Path, "/"+name) {
				versions = append(versions, name+" "+dep.Version)
			}
		}
	}
	return versions
}
