// Command chaos lets everything go wrong at random, for a while: it publishes through connections that are cut to a server, or
// a cluster, that is killed and paused and whose clock jumps, with subscribers in processes that are killed, stopped and closed,
// behind slow links, with messages and keys that fail, and groups that are destroyed. Then it heals all, lets the groups drain, and
// checks that nothing was lost, that each message that came twice had a reason to, that the promised order was kept, and that
// exactly those messages were dead-lettered that had to be. The seed makes the schedule: the same seed is the same schedule.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	if isWorker() {
		if err := runWorker(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ok, err := chaos()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// chaos makes a run and reports whether all was well.
func chaos() (ok bool, err error) {
	o := options{workers: 4, groups: allGroups, large: true}
	flag.Uint64Var(&o.seed, "seed", 0, "of the schedule; 0: at random")
	flag.DurationVar(&o.duration, "duration", 2*time.Minute, "how long to publish and to let things go wrong")
	flag.IntVar(&o.rate, "rate", 500, "messages to publish a second")
	flag.DurationVar(&o.claimMinIdle, "claim-min-idle", time.Second, "SubscriberConfig.ClaimMinIdle")
	flag.BoolVar(&o.cluster, "cluster", false, "three masters, between which the topic's slot moves")
	flag.BoolVar(&o.verbose, "v", false, "print each fault and every message that came twice, and keep the journals")
	flag.Parse()
	for o.seed == 0 {
		o.seed = randomSeed()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return false, err
	}
	redis.SetLogger(silence{}) // it would log each dial that fails
	fmt.Printf("seed %d, %s, %d messages/s, cluster: %t\n", o.seed, o.duration, o.rate, o.cluster)
	r, err := open(o, os.Stdout)
	if err != nil {
		return false, err
	}
	defer func() { r.cleanUp(!ok) }()
	defer r.close()
	if err := r.execute(ctx); err != nil {
		return false, err
	}
	h, err := r.finish(ctx)
	if err != nil {
		return false, err
	}
	v := check(h)
	v.failures = append(v.failures, r.failures...)
	r.report(h, v)
	return v.ok(), nil
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
