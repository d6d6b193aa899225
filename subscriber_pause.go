package redisstream

// pausedTopics are the topics that a Subscriber does not deliver.
type pausedTopics struct {
	all    bool
	topics map[string]bool // other than all
}

func (p *pausedTopics) has(topic string) bool {
	if other, set := p.topics[topic]; set {
		return other
	}
	return p.all
}

func (p *pausedTopics) set(topics []string, paused bool) {
	if len(topics) == 0 {
		p.all, p.topics = paused, nil
		return
	}
	if p.topics == nil {
		p.topics = make(map[string]bool)
	}
	for _, topic := range topics {
		if p.topics[topic] = paused; paused == p.all {
			delete(p.topics, topic)
		}
	}
}

// Pause pauses this Subscriber's subscriptions to the topics, existing and later ones. Without
// topics it pauses all. From its return on they deliver no messages. Running handlers may finish,
// and their acks and nacks count. Within 2 s the messages that no handler has are released, so that
// other members of the group get them at their next look at the pending entries (ClaimInterval).
// Nothing is read until Resume.
//
// With AutoAck, and in a fan-out, messages that were read wait in this process: no other member can
// get them. A fan-out keeps its position. Leases of messages that handlers have are renewed, and
// delayed messages are moved to their topics, as without a pause.
//
// Pause sends no command, and is safe to repeat. To pause all members of a group, in all processes,
// use package admin. The two pauses are independent: a subscription is paused while one of them
// lasts.
func (s *Subscriber) Pause(topics ...string) { s.setPaused(topics, true) }

// Resume ends a pause of the topics. Without topics it ends all. Messages that were released are
// delivered first, then newer ones. It does not end a pause of the whole group.
func (s *Subscriber) Resume(topics ...string) { s.setPaused(topics, false) }

func (s *Subscriber) setPaused(topics []string, paused bool) {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	for sub, paused := range s.setPausedTopics(topics, paused) {
		sub.SetPaused(paused)
	}
}

// setPausedTopics returns which subscriptions are to be paused, and which are not.
func (s *Subscriber) setPausedTopics(topics []string, paused bool) map[running]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused.set(topics, paused)
	all := make(map[running]bool, len(s.subscriptions))
	for sub, topic := range s.subscriptions {
		all[sub] = s.paused.has(topic)
	}
	return all
}
