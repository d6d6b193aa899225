package stream

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxClocks bounds for how many streams a clock is kept.
const maxClocks = 1 << 14

// clocks keeps for each stream the latest time of its server's clock, as the IDs of XADD show it.
// No other clock is used: neither ours nor the time that passes here. So an entry that is dropped
// for its age has that age by the server's clock, and a stream to which something was added since
// has a newer top.
type clocks struct {
	mu      sync.Mutex
	streams map[string]int64 // ms
}

// observe learns from the ID of a new entry. Its time is the server's, unless the top of the stream
// is ahead of the clock: then the second number is not 0. The time is never behind the clock.
func (c *clocks) observe(key, id string) {
	text, number, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.streams[key]
	switch {
	case number == "0":
		c.keep(key, ms)
	case ok && ms < known: // the stream is another one, or its server is
		delete(c.streams, key)
	}
}

func (c *clocks) keep(key string, ms int64) {
	if c.streams == nil {
		c.streams = make(map[string]int64)
	}
	if _, known := c.streams[key]; !known && len(c.streams) >= maxClocks {
		for other := range c.streams { // they come in random order
			delete(c.streams, other)
			break
		}
	}
	c.streams[key] = ms
}

func (c *clocks) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, key)
}

// known reports whether the stream's entries can have an age.
func (c *clocks) known(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.streams[key]
	return ok
}

// minID returns the time before which entries are older than age; 0: none is, or the time is
// unknown.
func (c *clocks) minID(key string, age time.Duration) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.streams[key]-age.Milliseconds(), 0)
}

// isBefore reports whether an ID is of an earlier time.
func isBefore(id string, ms int64) bool {
	text, _, _ := strings.Cut(id, "-")
	time, err := strconv.ParseInt(text, 10, 64)
	return err == nil && time < ms
}
