package redisstreamtest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// outsideTest has the methods of testing.TB that an example needs.
type outsideTest struct {
	testing.TB
	cleanups []func()
}

func (*outsideTest) Helper()                  {}
func (*outsideTest) Name() string             { return "Example" }
func (*outsideTest) Context() context.Context { return context.Background() }
func (t *outsideTest) Cleanup(f func())       { t.cleanups = append(t.cleanups, f) }

func (*outsideTest) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (*outsideTest) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*outsideTest) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *outsideTest) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}
