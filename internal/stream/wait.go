package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNotReplicated is the error for entries that the master has, but that too few replicas
// confirmed.
var ErrNotReplicated = errors.New("not confirmed by enough replicas")

// ReplicaWait makes Add wait until replicas confirm the entries (WAIT).
type ReplicaWait struct {
	Replicas int // how many; 0: do not wait for replicas
	Timeout  time.Duration
}

const (
	// lateReply is how much later than its timeout WAIT may return: servers check their clock at
	// intervals.
	lateReply = time.Second
	// maxRedirects bounds how often requests follow a slot that moves.
	maxRedirects = 8
	// redirectPause gives a cluster client time to find a node that it does not know yet.
	redirectPause = 50 * time.Millisecond
)

// addConfirmed adds entries and waits for the replicas. WAIT counts only what its own connection
// wrote, so all goes to one node on one connection, and a redirection is followed here.
func (a *Adder) addConfirmed(ctx context.Context, key Key, requests []*AddRequest) {
	master, err := node(ctx, a.client, key.name)
	if err != nil {
		for _, request := range requests {
			request.Err = unsentError{err}
		}
		return
	}
	ask := false
	for redirects := 0; ; redirects++ {
		a.addToNode(ctx, master, ask, key, requests)
		requests = redirected(requests)
		if len(requests) == 0 || redirects == maxRedirects {
			return
		}
		if master, ask, err = a.follow(ctx, key.name, requests[0].Err); err != nil {
			return // the requests keep the refusal as their error
		}
	}
}

// addToNode sends one pipeline. The replies may take longer than usual, by the timeout of WAIT.
func (a *Adder) addToNode(ctx context.Context, master nodeClient, ask bool, key Key, requests []*AddRequest) {
	timeout := master.Options().ReadTimeout
	if timeout > 0 {
		timeout = max(timeout, lateReply) + a.confirm.Timeout
	}
	pipe := master.WithTimeout(timeout).Pipeline()
	commands := commandsOf(ctx, key, requests)
	for _, command := range commands {
		if ask {
			_ = pipe.Process(ctx, redis.NewCmd(ctx, "asking"))
		}
		_ = pipe.Process(ctx, command) // only queues it
	}
	var rest tail
	confirmed := redis.NewIntCmd(ctx, "wait", a.confirm.Replicas, rest.of(a.confirm.Timeout.Milliseconds()))
	_ = pipe.Process(ctx, confirmed)
	_, err := pipe.Exec(ctx)
	if scripted(requests) {
		settleScript(requests, commands[0], err, &rest)
	} else {
		settle(requests, commands, err, &rest)
	}

	if int(confirmed.Val()) >= a.confirm.Replicas {
		return
	}
	for _, request := range requests {
		if request.Err == nil {
			request.Err = a.notConfirmed(confirmed)
		}
	}
}

// commandsOf returns what adds the requests.
func commandsOf(ctx context.Context, key Key, requests []*AddRequest) []once {
	if scripted(requests) {
		return []once{publishCommand(ctx, key, requests)}
	}
	commands := make([]once, len(requests))
	for i, request := range requests {
		commands[i] = request.command(ctx, key)
	}
	return commands
}

func (a *Adder) notConfirmed(reply *redis.IntCmd) error {
	if err := reply.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReplicated, err)
	}
	return fmt.Errorf("%w: %d of %d in %s", ErrNotReplicated, reply.Val(), a.confirm.Replicas, a.confirm.Timeout)
}

// redirected returns the requests that the node refused because it does not hold the slot. It
// returns none if the node accepted a later request: the order would change.
func redirected(requests []*AddRequest) (list []*AddRequest) {
	for _, request := range requests {
		_, _, moved := redirection(request.Err)
		switch {
		case moved:
			list = append(list, request)
		case len(list) > 0:
			return nil
		}
	}
	return list
}

// redirection returns the node that a refusal names, and whether it is for this request only.
func redirection(err error) (addr string, ask, ok bool) {
	if addr, ok = redis.IsMovedError(err); ok {
		return addr, false, true
	}
	addr, ok = redis.IsAskError(err)
	return addr, ok, ok
}

// follow returns the client of the node that a refusal names. If the cluster client does not know
// that node, it returns the one that holds the key after a refresh.
func (a *Adder) follow(ctx context.Context, key string, refusal error) (master nodeClient, ask bool, err error) {
	addr, ask, _ := redirection(refusal)
	cluster, ok := a.client.(clusterClient)
	if !ok {
		return nil, false, refusal
	}
	if master := nodeAt(ctx, cluster, addr); master != nil {
		return master, ask, nil
	}
	pause := time.NewTimer(redirectPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return nil, false, refusal
	}
	master, err = node(ctx, a.client, key)
	return master, false, err
}
