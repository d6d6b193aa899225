package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	wmsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/millrace/redisstream/internal/redistest"
)

var errNoPostgreSQL = errors.New("no PostgreSQL server found: put pg_ctl and initdb on the PATH " +
	"(apt-get install postgresql; brew install postgresql)")

// postgresBroker is a PostgreSQL server, whose topic is the tables of watermill-sql.
type postgresBroker struct {
	addr string
	bin  string // directory of the binaries
	dir  string
	as   *syscall.Credential // PostgreSQL refuses to run as root; nil: as this process
	pool *pgxpool.Pool
}

// launchPostgreSQL starts a private server with the settings of initdb: fsync and
// synchronous_commit are on.
func launchPostgreSQL() (*postgresBroker, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgresql-")
	if err != nil {
		return nil, err
	}
	b := &postgresBroker{bin: bin, dir: dir}
	if err := b.start(); err != nil {
		b.stop()
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	return b, nil
}

// postgresBinaries returns the directory of pg_ctl and initdb: from the PATH, else the newest of
// Debian's.
func postgresBinaries() (string, error) {
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		return filepath.Dir(path), nil
	}
	const pattern = "/usr/lib/postgresql/*/bin/pg_ctl"
	paths, _ := filepath.Glob(pattern) // the pattern is well-formed
	if len(paths) == 0 {
		return "", errNoPostgreSQL
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	return filepath.Dir(slices.MaxFunc(paths, func(a, b string) int { return version(a) - version(b) })), nil
}

func (b *postgresBroker) start() error {
	if os.Geteuid() == 0 {
		if err := b.dropRoot(); err != nil {
			return err
		}
	}
	if err := b.run("initdb", "-D", b.data(), "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"); err != nil {
		return err
	}
	port := redistest.FreePort()
	b.addr = "127.0.0.1:" + port
	options := fmt.Sprintf("-h 127.0.0.1 -p %s -k %s", port, b.dir)
	if err := b.run("pg_ctl", "-D", b.data(), "-l", filepath.Join(b.dir, "log"), "-o", options, "-w", "start"); err != nil {
		return err
	}
	var err error
	b.pool, err = openPool(b.addr)
	return err
}

// dropRoot gives the directory to the user postgres, who runs the server.
func (b *postgresBroker) dropRoot() error {
	postgres, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(postgres.Uid)
	gid, err2 := strconv.Atoi(postgres.Gid)
	if err := errors.Join(err1, err2, os.Chown(b.dir, uid, gid)); err != nil {
		return err
	}
	b.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return nil
}

func (b *postgresBroker) data() string { return filepath.Join(b.dir, "data") }

// run runs one of PostgreSQL's programs.
func (b *postgresBroker) run(program string, args ...string) error {
	command := exec.CommandContext(context.Background(), filepath.Join(b.bin, program), args...)
	command.Dir = b.dir
	command.SysProcAttr = &syscall.SysProcAttr{Credential: b.as}
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// openPool opens a pool of 20 connections, which is what go-redis opens on two cores. pgx's default
// of four would hold back 16 goroutines.
func openPool(addr string) (*pgxpool.Pool, error) {
	target := url.URL{Scheme: "postgres", User: url.User("bench"), Host: addr, Path: "postgres", RawQuery: "sslmode=disable&pool_max_conns=20"}
	pool, err := pgxpool.New(context.Background(), target.String())
	if err != nil {
		return nil, err
	}
	return pool, pool.Ping(context.Background())
}

func (b *postgresBroker) address() string { return b.addr }

func (b *postgresBroker) version() (string, error) {
	var version string
	err := b.pool.QueryRow(context.Background(), "SHOW server_version").Scan(&version)
	return "PostgreSQL " + version, err
}

// empty creates the tables of watermill-sql again.
func (b *postgresBroker) empty() error {
	if _, err := b.pool.Exec(context.Background(), "DROP TABLE IF EXISTS watermill_bench, watermill_offsets_bench"); err != nil {
		return err
	}
	subscriber, err := sqlLibrary{}.subscriber(b.pool)
	if err != nil {
		return err
	}
	return errors.Join(subscriber.SubscribeInitialize(topic), subscriber.Close())
}

// fill inserts the messages as calls of Publish with 100 messages do. Then it analyzes the table,
// as PostgreSQL does by itself within a minute: without that, each query would sort all rows.
func (b *postgresBroker) fill(n int, payload []byte) error {
	ctx := context.Background()
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for added := 0; added < n; added += 100 {
		if _, err := conn.Exec(ctx, `INSERT INTO watermill_bench (uuid, payload, metadata, transaction_id)
			SELECT 'uuid', $1::bytea, '{}', pg_current_xact_id() FROM generate_series(1, $2)`, payload, min(100, n-added)); err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, "ANALYZE watermill_bench")
	return err
}

func (b *postgresBroker) acked() (int64, error) {
	var n int64
	err := b.pool.QueryRow(context.Background(), `SELECT count(*) FROM watermill_bench, watermill_offsets_bench
		WHERE consumer_group = $1
		AND (transaction_id, "offset") <= (last_processed_transaction_id, offset_acked)`, group).Scan(&n)
	return n, err
}

func (b *postgresBroker) stop() {
	if b.pool != nil {
		b.pool.Close()
	}
	if _, err := os.Stat(b.data()); err == nil {
		_ = b.run("pg_ctl", "-D", b.data(), "-m", "immediate", "-w", "stop") // it may not have started
	}
	_ = os.RemoveAll(b.dir)
}

// sqlLibrary is watermill-sql on PostgreSQL. Zero values are its defaults.
type sqlLibrary struct {
	pollInterval time.Duration
	batchSize    int
}

// schema keeps payloads as bytes: those of the works are not JSON, which is the default.
func (l sqlLibrary) schema() wmsql.DefaultPostgreSQLSchema {
	return wmsql.DefaultPostgreSQLSchema{
		SubscribeBatchSize:  l.batchSize,
		GeneratePayloadType: func(string) string { return "BYTEA" },
	}
}

func (l sqlLibrary) openPublisher(r *run) (message.Publisher, error) {
	pool, err := r.pool()
	if err != nil {
		return nil, err
	}
	return wmsql.NewPublisher(wmsql.BeginnerFromPgx(pool), wmsql.PublisherConfig{SchemaAdapter: l.schema()}, nil)
}

func (l sqlLibrary) openSubscriber(r *run, _ settings) (message.Subscriber, error) {
	pool, err := r.pool()
	if err != nil {
		return nil, err
	}
	return l.subscriber(pool)
}

// pool opens connections of a run.
func (r *run) pool() (*pgxpool.Pool, error) {
	pool, err := openPool(r.addr)
	if err != nil {
		return nil, err
	}
	r.atEnd(pool.Close)
	return pool, nil
}

func (l sqlLibrary) subscriber(pool *pgxpool.Pool) (*wmsql.Subscriber, error) {
	return wmsql.NewSubscriber(wmsql.BeginnerFromPgx(pool), wmsql.SubscriberConfig{
		ConsumerGroup: group, PollInterval: l.pollInterval,
		SchemaAdapter: l.schema(), OffsetsAdapter: wmsql.DefaultPostgreSQLOffsetsAdapter{},
	}, nil)
}
