package stream

import "time"

// SetGrace sets how long the server may take to answer Interrupt.
func (c *Conn) SetGrace(grace time.Duration) { c.grace = grace }
