package redisstream

import (
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strings"
)

type consumerName struct{ topic, name string }

// consumer returns a name in the group that no other subscription of this Subscriber has for the
// topic, and a function that gives it back.
func (s *Subscriber) consumer(topic string) (name string, release func()) {
	if s.config.Consumer == "" {
		return generatedName(), func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	used := consumerName{topic, s.config.Consumer}
	for n := 2; ; n++ {
		if _, taken := s.names[used]; !taken {
			break
		}
		used.name = fmt.Sprintf("%s#%d", s.config.Consumer, n)
	}
	s.names[used] = struct{}{}
	return used.name, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.names, used)
	}
}

// generatedSuffix is the Lua pattern that a generated name matches and a configured one does not.
var generatedSuffix = "~" + strings.Repeat("[A-Z2-7]", generatedLength) + "$"

const generatedLength = 10

// luaMagic matches the characters that have a meaning in a Lua pattern.
var luaMagic = regexp.MustCompile(`[\^$()%.\[\]*+\-?]`)

// removable returns the Lua patterns of the consumers that no later process uses again: those with
// generated names, and the numbered ones beside a fixed name.
func (c SubscriberConfig) removable() []string {
	patterns := []string{generatedSuffix}
	if c.Consumer != "" {
		patterns = append(patterns, "^"+luaMagic.ReplaceAllString(c.Consumer, "%${0}")+"#%d+$")
	}
	return patterns
}

func generatedName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "consumer"
	}
	return host + "~" + rand.Text()[:generatedLength]
}
