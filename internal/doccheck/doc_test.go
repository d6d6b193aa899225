// Package doccheck_test checks the documentation: its Go snippets compile, the README's program
// runs, its links have targets, and the tests and files that it names exist.
package doccheck_test
