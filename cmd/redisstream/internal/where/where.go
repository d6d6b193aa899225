// Package where evaluates the expressions of --where, in the language of
// https://expr-lang.org. An evaluation is bounded in memory and time: the payloads are hostile.
package where

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

const (
	maxLength = 4096 // characters of an expression
	maxNodes  = 500  // parts of an expression
	maxTime   = time.Second
)

var errSlow = fmt.Errorf("the evaluation took longer than %s", maxTime)

// Filter is an expression over the names of an E. A nil Filter matches everything.
type Filter[E any] struct {
	text    string
	program *vm.Program
	maxTime time.Duration
}

// Compile returns the filter of an expression; nil if it is empty. The error names the place.
func Compile[E any](text string) (*Filter[E], error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil //nolint:nilnil // a nil Filter matches everything
	}
	if len(text) > maxLength {
		return nil, fmt.Errorf("the expression is longer than %d characters", maxLength)
	}
	var env E
	program, err := expr.Compile(text, expr.Env(env), expr.AsBool(), expr.MaxNodes(maxNodes))
	if err != nil {
		return nil, placed(text, err)
	}
	return &Filter[E]{text: text, program: program, maxTime: maxTime}, nil
}

// UsesJSON reports whether the filter needs the decoded payload.
func (f *Filter[E]) UsesJSON() bool { return f != nil && strings.Contains(f.text, "json") }

// Match evaluates the filter. It gives up after a second; then the process should end, because an
// evaluation can't be stopped.
func (f *Filter[E]) Match(env E) (bool, error) {
	if f == nil {
		return true, nil
	}
	type result struct {
		value any
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := expr.Run(f.program, env)
		done <- result{value, err}
	}()
	timer := time.NewTimer(f.maxTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, errSlow
	case r := <-done:
		if r.err != nil {
			return false, placed(f.text, r.err)
		}
		matches, _ := r.value.(bool)
		return matches, nil
	}
}

// placed puts the place of an error on one line: «unknown name foo at character 3: "a == ⟶foo"».
func placed(text string, err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	runes := []rune(text)
	place := min(max(at.From, 0), len(runes))
	return fmt.Errorf("%s at character %d: %s>>>%s", at.Message, place+1, string(runes[:place]), string(runes[place:]))
}
