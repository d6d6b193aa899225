package redistest

import (
	"slices"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
)

// Log keeps log lines, so that a test can count them.
type Log struct {
	mu    sync.Mutex
	lines []string
}

// Write takes one line.
func (l *Log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

// Count returns how many lines contain the text.
func (l *Log) Count(text string) (n int) {
	for _, line := range l.Lines() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// Lines returns all lines.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// Logger logs all levels to l.
func (l *Log) Logger() watermill.LoggerAdapter { return watermill.NewStdLoggerWithOut(l, true, true) }
