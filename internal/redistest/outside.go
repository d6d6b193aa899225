package redistest

import (
	"errors"
	"fmt"
	"testing"
)

// Outside is a testing.TB for programs that are not tests. A function that gets it may fail and
// clean up, but not log.
type Outside struct {
	testing.TB // nil: other methods panic

	cleanups []func()
}

// failure is the panic value of Fatal.
type failure struct{ error }

// Try calls f and returns the error of its call of Fatal.
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

// Close runs the cleanups in reverse order.
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
	panic(failure{errors.New(fmt.Sprint(args...))}) //nolint:err113 // for a reader
}

// Fatalf is Fatal with a format.
func (o *Outside) Fatalf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)}) //nolint:err113 // for a reader
}
