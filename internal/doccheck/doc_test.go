// Package doccheck_test keeps the documentation true: its Go snippets compile, the README's program
// runs, its links lead somewhere, the tests and files that it names exist.
package doccheck_test
