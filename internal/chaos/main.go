// Command chaos tests the library under random faults. It publishes to a server or a cluster
// through connections that are cut. Servers are killed and paused, their clocks jump, and groups
// are destroyed and paused. Subscribers run in processes that are killed, stopped, paused and closed, some behind slow
// links. Some messages and keys fail. At the end it heals all faults, waits until the groups have
// drained, and checks that nothing was lost, that each repeated delivery had a reason, that the
// promised order was kept, that nothing came during a pause, that exactly the right messages were dead-lettered, and that what was
// committed with its ack happened once. With -partitions members of groups that own partitions take
// over from each other. The same seed makes the same schedule of faults.
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

// chaos makes a run and reports whether the checker found nothing.
func chaos() (ok bool, err error) {
	o := options{workers: 4, groups: allGroups, large: true}
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the schedule; 0: random")
	flag.DurationVar(&o.duration, "duration", 2*time.Minute, "how long to publish and to make faults")
	flag.IntVar(&o.rate, "rate", 500, "messages to publish a second")
	flag.DurationVar(&o.claimMinIdle, "claim-min-idle", time.Second, "SubscriberConfig.ClaimMinIdle")
	flag.BoolVar(&o.cluster, "cluster", false, "use three masters, and move the topic's slot between them")
	flag.BoolVar(&o.verbose, "v", false, "print each fault and each repeated delivery, and keep the journals")
	partitions := flag.Bool("partitions", false, "members of groups that own partitions, instead of workers; -cluster has a replica for each master")
	flag.Parse()
	for o.seed == 0 {
		o.seed = randomSeed()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return false, err
	}
	redis.SetLogger(silence{}) // go-redis would log each failed dial
	if *partitions {
		return membersRun(ctx, o)
	}
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
