package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// contender is a library on a server: a column of PEERS.md.
type contender struct {
	name    string
	library library
	server  string // a key of launchers
}

// league has contenders of about the same durability. Ours is the first.
type league struct {
	name       string
	durability string
	contenders []contender
}

const (
	redisEverySecond = "Redis, everysec"
	redisAlways      = "Redis, always"
	natsEverySecond  = "JetStream, 1s"
	natsAlways       = "JetStream, always"
	postgreSQL       = "PostgreSQL"
)

// launchers start the servers.
var launchers = map[string]func() (broker, error){
	redisEverySecond: func() (broker, error) { return launchRedis("--appendfsync", "everysec") },
	redisAlways:      func() (broker, error) { return launchRedis("--appendfsync", "always") },
	natsEverySecond:  func() (broker, error) { return launchNATS("1s") },
	natsAlways:       func() (broker, error) { return launchNATS("always") },
	postgreSQL:       func() (broker, error) { return launchPostgreSQL() },
}

var leagues = []league{
	{
		name: "Synced each second",
		durability: `A message that Publish reported survives a crash of the server. A loss of power takes the last second.

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

// benchPeers measures the leagues. It writes their tables to w, and the page to the file out. Where
// PostgreSQL is missing, it is an error, or if optional, the columns are left out.
func benchPeers(w io.Writer, p plan, out string, optional bool) error {
	without := ""
	if _, err := postgresBinaries(); err != nil {
		if !optional {
			return err
		}
		fmt.Fprintf(os.Stderr, "watermill-sql is left out: %v\n", err)
		without = postgreSQL
	}
	servers, err := launchAll(without)
	if err != nil {
		return err
	}
	all := make([]broker, 0, len(servers))
	for _, server := range servers {
		defer server.stop()
		all = append(all, server)
	}
	stopOnSignal(all...)
	machine, err := describe(all...)
	if err != nil {
		return err
	}
	page := peersHead(machine, p.rounds)
	for _, league := range leagues {
		table, err := league.table(p, servers)
		if err != nil {
			return fmt.Errorf("%s: %w", league.name, err)
		}
		page += fmt.Sprintf("\n## %s\n\n%s\n\n%s", league.name, league.durability, table)
		if _, err := io.WriteString(w, table+"\n"); err != nil {
			return err
		}
	}
	if out == "" {
		return nil
	}
	return os.WriteFile(out, []byte(page), 0o600)
}

// launchAll starts the servers but one.
func launchAll(without string) (map[string]broker, error) {
	servers := make(map[string]broker)
	for name, launch := range launchers {
		if name == without {
			continue
		}
		server, err := launch()
		if err != nil {
			for _, started := range servers {
				started.stop()
			}
			return nil, err
		}
		servers[name] = server
	}
	return servers, nil
}

// table measures the contenders whose server runs.
func (l league) table(p plan, servers map[string]broker) (string, error) {
	var contenders []contender
	p.brokers = nil
	for _, c := range l.contenders {
		if server := servers[c.server]; server != nil {
			contenders = append(contenders, c)
			p.brokers = append(p.brokers, server)
		}
	}
	p.works = peerWorks(contenders)
	results, err := p.compete()
	if err != nil {
		return "", err
	}
	head := []string{"work"}
	for _, c := range contenders {
		head = append(head, c.name)
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
func peersHead(machine string, rounds int) string {
	return fmt.Sprintf(`# Peers on other servers

Written by `+"`make bench PEERS=all`"+` on %s: %s; %s.

`, time.Now().Format(time.DateOnly), machine, strings.Join(peerVersions(), ", "))
}

// peerVersions returns the libraries of the contenders and their clients, with the versions in this program.
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
