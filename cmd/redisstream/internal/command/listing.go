package command

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"

	"github.com/millrace/redisstream/cmd/redisstream/internal/text"
)

// flushRows is after how many rows a table is written, so that the first of many come soon.
const flushRows = 1000

// listing writes values as they come: rows of a table, or a JSON array.
type listing[V any] struct {
	app   *app
	row   func(V) []string
	table *tabwriter.Writer
	n     int
}

// list begins a listing. row returns the cells of a row.
func list[V any](a *app, columns []string, row func(V) []string) *listing[V] {
	l := &listing[V]{app: a, row: row}
	if !a.json() {
		l.table = newTable(a.Out)
		writeRow(l.table, columns)
	}
	return l
}

func newTable(out io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(lines{out}, 0, 0, 2, ' ', 0)
}

// writeRow writes hostile cells as one line of a table. An error comes at the flush.
func writeRow(w io.Writer, cells []string) {
	safe := make([]string, len(cells))
	for i, cell := range cells {
		safe[i] = text.Printable(cell)
	}
	_, _ = fmt.Fprintln(w, strings.Join(safe, "\t"))
}

// lines removes the padding at the end of lines.
type lines struct{ io.Writer }

func (w lines) Write(p []byte) (int, error) {
	trimmed := make([]byte, 0, len(p))
	for line := range bytes.Lines(p) {
		body, ended := bytes.CutSuffix(line, []byte("\n"))
		if !ended {
			trimmed = append(trimmed, body...)
			continue
		}
		trimmed = append(append(trimmed, bytes.TrimRight(body, " ")...), '\n') // p is the caller's
	}
	if _, err := w.Writer.Write(trimmed); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (l *listing[V]) add(v V) error {
	l.n++
	if l.table != nil {
		writeRow(l.table, l.row(v))
		if l.n%flushRows == 0 {
			return l.table.Flush()
		}
		return nil
	}
	before := ",\n"
	if l.n == 1 {
		before = "[\n"
	}
	return l.write(before, v)
}

func (l *listing[V]) write(before string, v V) error {
	document, err := text.JSON(v, false)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.app.Out, "%s%s", before, bytes.TrimSuffix(document, []byte("\n")))
	return err
}

func (l *listing[V]) end() error {
	if l.table != nil {
		return l.table.Flush()
	}
	document := "\n]\n"
	if l.n == 0 {
		document = "[]\n"
	}
	_, err := io.WriteString(l.app.Out, document)
	return err
}

// page is how much of a list is shown.
type page struct {
	most int // 0: all
}

// show lists the values of seq that keep takes, up to a page. It tells on Err if there are more.
func show[T, V any](l *listing[V], seq iter.Seq2[T, error], p page, keep func(T) (bool, error), view func(T) V) error {
	for v, err := range seq {
		if err != nil {
			return err
		}
		wanted, err := keep(v)
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		if p.most > 0 && l.n == p.most {
			if err := l.end(); err != nil {
				return err
			}
			return l.app.note("There are more than %d: -n 0 shows all.", p.most)
		}
		if err := l.add(view(v)); err != nil {
			return err
		}
	}
	return l.end()
}

// note tells a person something beside the output.
func (a *app) note(format string, args ...any) error {
	if a.json() {
		return nil
	}
	_, err := fmt.Fprintln(a.Err, text.Printable(fmt.Sprintf(format, args...)))
	return err
}

func all[T any](T) (bool, error) { return true, nil }

// write writes a value as JSON, or else lines for people.
func (a *app) write(v any, people ...string) error {
	if a.json() {
		document, err := text.JSON(v, true)
		if err != nil {
			return err
		}
		_, err = a.Out.Write(document)
		return err
	}
	for _, line := range people {
		if _, err := fmt.Fprintln(a.Out, text.Printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// printLine writes a value as a line of JSON.
func (a *app) printLine(v any) error {
	document, err := text.JSON(v, false)
	if err != nil {
		return err
	}
	_, err = a.Out.Write(document)
	return err
}

// stateColumn is the column that several tables have.
const stateColumn = "STATE"
