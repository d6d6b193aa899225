package subscription

import "slices"

// fifo is a queue that reuses its memory.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(item T) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

// pushFront puts an item before all others.
func (q *fifo[T]) pushFront(item T) {
	if q.head > 0 {
		q.head--
		q.items[q.head] = item
		return
	}
	q.items = append([]T{item}, q.items...)
}

func (q *fifo[T]) pop() T {
	var zero T
	item := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return item
}

// first returns the item that pop would take.
func (q *fifo[T]) first() T { return q.items[q.head] }

// index returns the place of the first item that matches; -1: none does.
func (q *fifo[T]) index(match func(T) bool) int { return slices.IndexFunc(q.items[q.head:], match) }

// count returns how many items at the front match.
func (q *fifo[T]) count(match func(T) bool) int {
	if i := q.index(func(item T) bool { return !match(item) }); i >= 0 {
		return i
	}
	return q.len()
}

// insert puts an item at a place.
func (q *fifo[T]) insert(place int, item T) {
	switch place {
	case q.len():
		q.push(item)
	case 0:
		q.pushFront(item)
	default:
		q.items = slices.Insert(q.items, q.head+place, item)
	}
}

// remove takes out the first item that matches.
func (q *fifo[T]) remove(match func(T) bool) {
	if i := q.index(match); i >= 0 {
		q.items = slices.Delete(q.items, q.head+i, q.head+i+1)
	}
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
}
