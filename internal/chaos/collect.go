package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
)

// page is how many entries are read at a time. It is small because some entries are large.
const page = 100

// history collects everything that is known at the end of the run.
func (r *run) history(ctx context.Context) (*history, error) {
	h := &history{groups: r.groups, claimMinIdle: r.claimMinIdle, published: map[string]*publication{}}
	r.note(func() {
		h.troubles, h.jumps, h.destroyed = slices.Clone(r.troubles), slices.Clone(r.jumps), maps.Clone(r.destroyed)
		h.failing, h.paused = slices.Clone(r.failing), maps.Clone(r.paused)
	})
	for _, s := range r.sources {
		for _, p := range s.published {
			h.published[p.uuid] = p
		}
	}
	err := r.readAll(ctx, r.topic, func(m redis.XMessage) error {
		msg, err := redisstream.MsgpackMarshaler{}.Unmarshal(m.ID, m.Values)
		if err == nil {
			h.entries = append(h.entries, entry{id: m.ID, uuid: msg.UUID})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = r.readAll(ctx, redisstream.DeadLetterTopic(r.topic), func(m redis.XMessage) error {
		l, err := deadLetterOf(m)
		h.deadLetters = append(h.deadLetters, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.readTransfers(ctx, h); err != nil {
		return nil, err
	}
	return h, r.readJournals(h)
}

// readAll visits the entries of a stream.
func (r *run) readAll(ctx context.Context, key string, visit func(redis.XMessage) error) error {
	for start := "-"; ; {
		entries, err := r.client.XRangeN(ctx, key, start, "+", page).Result()
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, m := range entries {
			if err := visit(m); err != nil {
				return err
			}
		}
		start = "(" + entries[len(entries)-1].ID
	}
}

// deadLetterOf reads a dead letter.
func deadLetterOf(m redis.XMessage) (deadLetter, error) {
	text := func(field string) string {
		value, _ := m.Values[field].(string)
		return value
	}
	l := deadLetter{group: text(redisstream.DeadLetterGroupKey), id: text(redisstream.DeadLetterIDKey)}
	at, err := time.Parse(time.RFC3339Nano, text(redisstream.DeadLetterTimeKey))
	if err != nil {
		return l, err
	}
	l.at = at.UnixNano()
	if l.deliveries, err = strconv.ParseInt(text(redisstream.DeadLetterDeliveriesKey), 10, 64); err != nil {
		return l, err
	}
	msg, err := redisstream.MsgpackMarshaler{}.Unmarshal(m.ID, m.Values)
	if err != nil {
		return l, err
	}
	l.uuid = msg.UUID
	return l, nil
}

// readTransfers reads the events and the balances of the group that commits.
func (r *run) readTransfers(ctx context.Context, h *history) error {
	err := r.readAll(ctx, eventTopic(r.topic), func(m redis.XMessage) error {
		msg, err := redisstream.MsgpackMarshaler{}.Unmarshal(m.ID, m.Values)
		if err == nil {
			h.transferred = append(h.transferred, entry{id: msg.UUID, uuid: string(msg.Payload)})
		}
		return err
	})
	if err != nil {
		return err
	}
	h.balances = map[string]int64{}
	stored, err := r.client.HGetAll(ctx, balancesKey(r.topic)).Result()
	if err != nil {
		return err
	}
	for account, balance := range stored {
		if h.balances[account], err = strconv.ParseInt(balance, 10, 64); err != nil {
			return err
		}
	}
	return nil
}

// readJournals reads the journals of the workers.
func (r *run) readJournals(h *history) error {
	var reader journalReader
	for i, w := range r.workers {
		for _, l := range w.lives {
			events, err := reader.readFile(l.journal)
			if err != nil {
				return err
			}
			p := &processHistory{
				name: l.name, killed: l.killed, storms: r.storms[i], cuts: r.cuts[i], events: events,
				readTimeout: w.config.Connection.ReadTimeout,
			}
			h.processes = append(h.processes, p)
			if died := slices.IndexFunc(events, func(e event) bool { return e.kind == dying }); died >= 0 {
				p.killed = events[died].at
			} else if l.failure != "" {
				r.fail(l.failure)
			}
		}
	}
	return nil
}
