package partition

import "hash/fnv"

// share is what a member is to have.
type share struct {
	peer   *peer
	kept   set // what it keeps of what it has
	target int
}

// assign returns which of its partitions a member is to give up, which partitions without an owner
// it is to take, in this order, and whether it is to take more when others have given them up. n is
// the number of partitions. Each member that knows the same peers computes the same assignment. peers
// is in the order of the names.
//
// Each active member has n/m partitions, or one more. It keeps as many as it may of those it has. So
// a join moves only what the newcomer gets, and a leave only what the member had. The results of
// members that follow them do not change until the last one has done so, whatever the order.
func assign(n int, peers []peer, me string) (give, take []int, awaits bool) {
	owned, counted, shares := newSet(n), newSet(n), make([]share, 0, len(peers))
	for i := range peers {
		p := &peers[i]
		owned.addAll(p.gives)
		if p.leaving {
			owned.addAll(p.keeps)
			continue
		}
		// If two members claim a partition, it counts as the first one's: nobody takes it, and the
		// other one finds out that it does not own it.
		kept := p.keeps.clone()
		kept.removeAll(counted)
		counted.addAll(kept)
		shares = append(shares, share{peer: p, kept: kept})
	}
	owned.addAll(counted)
	setTargets(n, shares)

	// The pool is what gets a new owner, now or when the present one has released it.
	pool := fullSet(n)
	for _, s := range shares {
		for surplus := s.kept.count() - s.target; surplus > 0; surplus-- {
			p := s.kept.last()
			s.kept.remove(p)
			if s.peer.name == me {
				give = append(give, p)
			}
		}
		pool.removeAll(s.kept)
	}
	for _, s := range shares {
		at := start(n, s.peer.name)
		for range s.target - s.kept.count() {
			p := pool.from(at)
			if p < 0 {
				break
			}
			pool.remove(p)
			switch {
			case s.peer.name != me:
			case owned.has(p):
				awaits = true
			default:
				take = append(take, p)
			}
			at = p
		}
		if s.peer.name == me {
			break
		}
	}
	return give, take, awaits
}

// setTargets decides how many partitions each member has. If they can't be shared evenly, those that
// have one more already keep it. Among equals the order of the names decides, never a number that
// changes while members follow.
func setTargets(n int, shares []share) {
	if len(shares) == 0 {
		return
	}
	least, more := n/len(shares), n%len(shares)
	for _, hasMore := range []bool{true, false} {
		for i := range shares {
			if (shares[i].kept.count() > least) != hasMore {
				continue
			}
			shares[i].target = least
			if more > 0 {
				shares[i].target++
				more--
			}
		}
	}
}

// start returns where a member begins to look for partitions. Members that know different peers for
// a moment then seldom want the same partition.
func start(n int, name string) int {
	return int(hashOf(name) % uint32(n)) //nolint:gosec // n is small
}

// hashOf returns a number that differs between names.
func hashOf(name string) uint32 {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))
	return hash.Sum32()
}
