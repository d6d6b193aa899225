package stream

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxClocks bounds how many streams have a clock.
const maxClocks = 1 << 14

// clocks keeps the latest time of each stream's server, as the IDs of XADD show it. Our own clock
// is never used. So an entry is dropped only if it has the age by the server's clock, and if a
// newer entry was added since.
type clocks struct {
	mu      sync.Mutex
	streams map[string]int64 // ms
}

// observe learns the time from the ID of a new entry. If the second number of the ID is 0, the time
// is the server's. Otherwise the stream's last ID may be ahead of the clock. An ID is never behind
// the clock.
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
	case ok && ms < known: // the stream or its server was replaced
		delete(c.streams, key)
	}
}

func (c *clocks) keep(key string, ms int64) {
	if c.streams == nil {
		c.streams = make(map[string]int64)
	}
	if _, known := c.streams[key]; !known && len(c.streams) >= maxClocks {
		for other := range c.streams { // the order is random
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

// known reports whether the server's time is known.
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
