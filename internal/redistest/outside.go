package redistest

import (
	"errors"
	"fmt"
	"testing"
)

// Outside is what a program that is no test gives to functions that take a testing.TB. Such a function may fail, log nothing,
// and clean up.
type Outside struct {
	testing.TB // nil: anything else panics

	cleanups []func()
}

// failure is the end of a function that called Fatal.
type failure struct{ error }

// Try calls f, and returns what it called Fatal with.
func (o *Outside) Try(f func(tb testing.TB)) (err error) {
	defer func() {
		switch end := recover().(type) {
		case nil:
		case failure:
			err = end.error
		default:
			panic(end)
		}
	}()
	f(o)
	return nil
}

// Close cleans up, in the reverse order.
func (o *Outside) Close() {
	for len(o.cleanups) > 0 {
		last := len(o.cleanups) - 1
		f := o.cleanups[last]
		o.cleanups = o.cleanups[:last]
		f()
	}
}

// Helper does nothing.
func (o *Outside) Helper() {}

// Cleanup keeps f for Close.
func (o *Outside) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

// Fatal ends the function that Try called.
func (o *Outside) Fatal(args ...any) {
	panic(failure{errors.New(fmt.Sprint(args...))}) //nolint:err113 // for people
}

// Fatalf is Fatal with a format.
func (o *Outside) Fatalf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)}) //nolint:err113 // for people
}
