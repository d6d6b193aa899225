package stream

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/claim.lua
	claimSource string
	//go:embed scripts/dead_letter.lua
	deadLetterSource string
	//go:embed scripts/hold.lua
	holdSource string
	//go:embed scripts/release.lua
	releaseSource string

	claimScript      = redis.NewScript(claimSource)
	deadLetterScript = redis.NewScript(deadLetterSource)
	holdScript       = redis.NewScript(holdSource)
	releaseScript    = redis.NewScript(releaseSource)
)

// Page asks for a part of the pending list.
type Page struct {
	From  string        // the first ID; "-" is the oldest
	Count int           // at most so many rows
	Idle  time.Duration // only what was idle for so long; 0: all
	Own   bool          // only what this consumer owns
}

// Pending returns a page of the pending list (XPENDING).
func (g *Group) Pending(ctx context.Context, page Page) (rows []redis.XPendingExt, err error) {
	args := redis.XPendingExtArgs{
		Stream: g.key, Group: g.name, Idle: page.Idle, Start: page.From, End: "+", Count: int64(page.Count),
	}
	if page.Own {
		args.Consumer = g.consumer
	}
	err = g.do(ctx, 0, func(ctx context.Context, c *redis.Client) (err error) {
		rows, err = c.XPendingExt(ctx, &args).Result()
		return err
	})
	return rows, err
}

// Claim tells how pending entries are taken over.
type Claim struct {
	Rows    []redis.XPendingExt // as Pending returned them; one that has a new owner since is left alone
	MinIdle time.Duration       // leave what was touched since; 0 takes at once
	Frozen  bool                // take at once, and only what still has no idle time
	Lost    bool                // the server counted a delivery of which we never saw the reply
}

// Claim takes over pending entries. Those that were trimmed from the stream before are taken off
// the pending list and returned by ID.
func (g *Group) Claim(ctx context.Context, claim Claim) (entries []Entry, trimmed []string, err error) {
	args := make([]any, 0, 3+2*len(claim.Rows))
	args = append(args, g.name, g.consumer, claim.MinIdle.Milliseconds())
	if claim.Frozen {
		args[2] = "frozen"
	}
	for _, row := range claim.Rows {
		args = append(args, row.ID, row.Consumer)
	}
	var reply []any
	err = g.do(ctx, 0, func(ctx context.Context, c *redis.Client) (err error) {
		reply, err = claimScript.Run(ctx, c, []string{g.key}, args...).Slice()
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return parseClaim(reply, claim.Lost)
}

func parseClaim(reply []any, lost bool) (entries []Entry, trimmed []string, err error) {
	if len(reply) != 2 {
		return nil, nil, fmt.Errorf("claim script: %d elements in its reply", len(reply))
	}
	claimed, _ := reply[0].([]any)
	for _, element := range claimed {
		triple, _ := element.([]any)
		if len(triple) != 3 {
			return nil, nil, fmt.Errorf("claim script: %d elements in an entry", len(triple))
		}
		id, _ := triple[0].(string)
		pairs, _ := triple[1].([]any)
		counted, _ := triple[2].(int64)
		deliveries := counted + 1
		if lost {
			deliveries = max(counted, 1)
		}
		fields := make(map[string]any, len(pairs)/2)
		for i := 0; i+1 < len(pairs); i += 2 {
			name, _ := pairs[i].(string)
			fields[name] = pairs[i+1]
		}
		entries = append(entries, Entry{ID: id, Fields: fields, Deliveries: deliveries, Counted: max(counted, 1)})
	}
	return entries, stringsOf(reply[1]), nil
}

func stringsOf(reply any) []string {
	elements, _ := reply.([]any)
	list := make([]string, 0, len(elements))
	for _, element := range elements {
		if s, ok := element.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// Lease is an entry that we hold, and how often it was delivered.
type Lease struct {
	ID         string
	Deliveries int64
}

func leaseArgs(args []any, leases []Lease) []any {
	for _, l := range leases {
		args = append(args, l.ID, strconv.FormatInt(l.Deliveries, 10))
	}
	return args
}

// Hold renews leases. It returns which are lost, to another consumer or because somebody
// acknowledged them, and which entries were trimmed: nobody can get those any more.
func (g *Group) Hold(ctx context.Context, leases []Lease) (lost, trimmed []string, err error) {
	args := leaseArgs([]any{g.name, g.consumer}, leases)
	reply, err := holdScript.Run(ctx, g.shared, []string{g.key}, args...).Slice()
	if err != nil {
		return nil, nil, err
	}
	if len(reply) != 2 {
		return nil, nil, fmt.Errorf("hold script: %d elements in its reply", len(reply))
	}
	return stringsOf(reply[0]), stringsOf(reply[1]), nil
}

// Fate is what became of an entry that was to be dead-lettered.
type Fate int64

// The fates.
const (
	FateTrimmed Fate = -1 // it is no longer in the stream, and acknowledged
	FateLost    Fate = 0  // it belongs to another consumer, or is acknowledged
	FateMoved   Fate = 1  // it is in the dead-letter stream, and acknowledged
)

// DeadLetter moves an entry that we own to the stream target, with further fields, and
// acknowledges it, in one step.
func (g *Group) DeadLetter(ctx context.Context, id, target string, further []any) (Fate, error) {
	args := append([]any{g.name, g.consumer, id}, further...)
	fate, err := deadLetterScript.Run(ctx, g.shared, []string{g.key, target}, args...).Int64()
	return Fate(fate), err
}

// releasePage bounds how long one call of the release script keeps the server busy.
const releasePage = 1000

// Release frees all that is pending for this consumer, so that any other may claim it at once,
// with the delivery counts of leases. Entries that leases doesn't name were handed out and never seen. Those that were
// trimmed from the stream are returned by ID. If remove is set, the consumer is removed once it owns nothing.
func (g *Group) Release(ctx context.Context, leases []Lease, remove bool) (trimmed []string, err error) {
	flag := "0"
	if remove {
		flag = "1"
	}
	for from := "-"; ; {
		args := leaseArgs([]any{g.name, g.consumer, from, releasePage, flag}, leases)
		reply, err := releaseScript.Run(ctx, g.shared, []string{g.key}, args...).Slice()
		if err != nil {
			return trimmed, err
		}
		if len(reply) != 2 {
			return trimmed, fmt.Errorf("release script: %d elements in its reply", len(reply))
		}
		trimmed = append(trimmed, stringsOf(reply[1])...)
		last, _ := reply[0].(string)
		if last == "" {
			return trimmed, nil
		}
		from = After(last)
	}
}
