package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
)

// publication is the outcome of publishing a message.
type publication struct {
	uuid      string
	tried     int64 // when first published
	done      bool  // Publish returned nil, or reported it as published
	doneAt    int64 // when done
	uncertain int   // how often Publish reported it as uncertain
}

func (p *publication) publishedNow() { p.done, p.doneAt = true, time.Now().UnixNano() }

// source publishes messages at a rate. Its seed determines them.
type source struct {
	number    int
	topic     string
	random    *rand.Rand
	every     time.Duration // pause between messages
	publisher *redisstream.Publisher
	published []*publication
	errors    int
	large     bool                                 // some payloads are large
	failing   func() (key string, until time.Time) // the key that fails now; nil: none
}

func newSource(seed uint64, number int, topic string, every time.Duration, publisher *redisstream.Publisher) *source {
	return &source{
		number: number, topic: topic, every: every, publisher: publisher,
		random: rand.New(rand.NewPCG(seed, uint64(number)+2)),
	}
}

// run publishes until quiet ends. It repeats what failed until it is published or ctx ends.
func (s *source) run(quiet, ctx context.Context) {
	for next := time.Now(); wait(quiet, time.Until(next)); {
		batch := s.batch()
		next = next.Add(time.Duration(len(batch)) * s.every)
		for len(batch) > 0 && ctx.Err() == nil {
			if batch = s.publish(batch); len(batch) > 0 {
				wait(ctx, 20*time.Millisecond)
			}
		}
	}
}

// item is a message to publish.
type item struct {
	*publication
	work    work
	payload []byte
}

func (s *source) batch() []item {
	batch := make([]item, 1+s.random.IntN(8))
	for i := range batch {
		p := &publication{uuid: fmt.Sprintf("%d-%d", s.number, len(s.published)), tried: time.Now().UnixNano()}
		s.published = append(s.published, p)
		batch[i] = item{publication: p, work: s.work(), payload: s.payload()}
		if s.failing != nil {
			if key, until := s.failing(); key == keyOf(p.uuid) {
				batch[i].work.until = until
			}
		}
	}
	return batch
}

func (s *source) payload() []byte {
	size := s.random.IntN(200)
	if s.large && s.random.IntN(500) == 0 {
		size = 1 << (14 + s.random.IntN(8)) // up to 2 MiB
		size -= s.random.IntN(size / 2)
	}
	return []byte(strings.Repeat("x", size))
}

func (s *source) work() (w work) {
	switch n := s.random.IntN(1000); {
	case n == 0:
		w.takes = time.Duration(1+s.random.IntN(2000)) * time.Millisecond
	case n < 20:
		w.takes = time.Duration(s.random.IntN(50)) * time.Millisecond
	}
	w.heeds = s.random.IntN(2) == 0
	if s.random.IntN(100) == 0 {
		w.nacks = int64(1 + s.random.IntN(3))
	}
	switch n := s.random.IntN(20_000); {
	case n == 0:
		w.poison, w.kills = true, true
	case n < 40:
		w.poison, w.nacks = true, 1<<30
	}
	return w
}

// publish calls Publish once and returns the messages to publish again. Some calls have a deadline,
// as in a request that ends.
func (s *source) publish(batch []item) (again []item) {
	ctx := context.Background()
	if s.random.IntN(50) == 0 {
		short, cancel := context.WithTimeout(ctx, time.Duration(s.random.IntN(5000))*time.Microsecond)
		defer cancel()
		ctx = short
	}
	messages := make([]*message.Message, len(batch))
	items := make(map[*message.Message]item, len(batch))
	for i, one := range batch {
		messages[i] = one.work.message(one.uuid, one.payload)
		messages[i].SetContext(ctx)
		items[messages[i]] = one
	}
	err := s.publisher.Publish(s.topic, messages...)
	if err == nil {
		for _, one := range batch {
			one.publishedNow()
		}
		return nil
	}
	s.errors++
	var failure *redisstream.PublishError
	if !errors.As(err, &failure) {
		panic(err) // each error is a PublishError
	}
	for _, msg := range failure.Published {
		items[msg].publishedNow()
	}
	for _, msg := range failure.Failed {
		again = append(again, items[msg])
	}
	for _, msg := range failure.Uncertain {
		items[msg].uncertain++
		again = append(again, items[msg])
	}
	return again
}
