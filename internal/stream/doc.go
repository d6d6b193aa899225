// Package stream is the only place that speaks Redis: typed commands, scripts and classes of
// errors for one stream and one consumer of it. It knows nothing of messages, lanes or time.
package stream
