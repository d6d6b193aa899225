package main

import (
	"errors"
	"sync"
)

// parallel calls f(0) to f(n-1), each in a goroutine.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}
