package stream

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	// blockSize is how many bytes of fields share a block.
	blockSize = 4 << 10
	// usualEntry is less than the bytes of a usual entry in a reply.
	usualEntry = 32
)

// decoder decodes the entries of a reply.
//
// The fields of consecutive entries share a block of memory, and so do their IDs: two allocations
// for a block instead of one for each text. A block has at most 4 KiB, or one entry. So an entry
// that waits for long, as one behind a message that is not acknowledged, keeps little more than
// itself alive, and not the reply of up to 16 MiB that it came in; and where only the ID is kept,
// as while a handler works, the fields are free. The reply itself is not kept: its buffer serves
// the next read.
//
// It does not trust the reply: lengths are checked against the bytes that are there.
type decoder struct {
	reply []byte
	pos   int

	entries []Entry // of the whole reply; the memory is used again
	block   []place // the entries of the block: the last of entries
	size    int     // of the fields in the block
}

// place is where an entry is in the reply.
type place struct {
	id, fields span
	size       int // of its Fields
}

// span is a part of the reply.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

// start prepares the decoder for another reply. The list of the last one's entries ends here; what
// was copied from it stays.
func (d *decoder) start(reply []byte) {
	clear(d.entries)
	*d = decoder{reply: reply, entries: d.entries[:0], block: d.block[:0]}
}

// streams decodes the reply to XREAD or XREADGROUP of one stream.
func (d *decoder) streams() ([]Entry, error) {
	line, err := d.line()
	if err != nil {
		return nil, err // redis.Nil: none are waiting
	}
	isMap := line[0] == '%'
	n, err := d.listLength(line, isMap)
	if err != nil || n == 0 {
		return nil, err
	}
	if n > 1 {
		return nil, fmt.Errorf("%w: %d streams instead of one", errMalformed, n)
	}
	entries, err := d.stream(isMap)
	if noneWaiting(err) { // a nil within: there may have been entries
		return nil, fmt.Errorf("%w: nil in it", errMalformed)
	}
	return entries, err
}

// stream decodes [name, entries], or a pair of a map.
func (d *decoder) stream(isPair bool) ([]Entry, error) {
	if !isPair {
		if err := d.fixedList(2); err != nil {
			return nil, err
		}
	}
	if _, err := d.text(); err != nil { // the stream's name
		return nil, err
	}
	return d.list((*decoder).newEntry)
}

// list decodes a list of entries, each with the given function.
func (d *decoder) list(entry func(*decoder) (Entry, place, error)) ([]Entry, error) {
	n, err := d.listHeader()
	if err != nil {
		return nil, err
	}
	// A length that is a lie reserves little more than the size of the reply.
	d.entries = slices.Grow(d.entries, min(n, len(d.reply[d.pos:])/usualEntry+1))
	for range n {
		e, where, err := entry(d)
		if err != nil {
			return nil, err
		}
		if d.size+where.size > blockSize {
			d.endBlock()
		}
		d.entries = append(d.entries, e)
		d.block = append(d.block, where)
		d.size += where.size
	}
	d.endBlock()
	return d.entries, nil
}

// endBlock gives the entries of the block their texts.
func (d *decoder) endBlock() {
	idSize := 0
	for _, where := range d.block {
		idSize += where.id.len()
	}
	var fields, ids strings.Builder
	fields.Grow(d.size)
	ids.Grow(idSize)
	entries := d.entries[len(d.entries)-len(d.block):]
	for i, where := range d.block {
		entries[i].ID = d.appendID(&ids, where.id)
		entries[i].Fields = d.appendFields(&fields, where.fields)
	}
	d.block, d.size = d.block[:0], 0
}

// appendID copies an ID to the end of a block that has room for it.
func (d *decoder) appendID(block *strings.Builder, id span) string {
	from := block.Len()
	block.Write(d.reply[id.from:id.to])
	return block.String()[from:]
}

// appendFields is appendID for fields, which were checked.
func (d *decoder) appendFields(block *strings.Builder, fields span) Fields {
	from := block.Len()
	for pos := fields.from; pos < fields.to; {
		text, end, _ := textAt(d.reply, pos)
		appendLength(block, text.len())
		block.Write(d.reply[text.from:text.to])
		pos = end
	}
	return Fields{block.String()[from:]}
}

// newEntry decodes an element of the reply to XREAD or XREADGROUP: [ID, fields].
func (d *decoder) newEntry() (e Entry, where place, err error) {
	n, err := d.listHeader()
	if err != nil {
		return e, where, err
	}
	if n != 2 && n != 4 {
		return e, where, fmt.Errorf("%w: %d elements in an entry", errMalformed, n)
	}
	if where, err = d.idAndFields(); err != nil {
		return e, where, err
	}
	for range n - 2 { // idle time and deliveries, which only XREADGROUP ... CLAIM returns
		if _, err := d.integer(); err != nil {
			return e, where, err
		}
	}
	return Entry{Deliveries: 1, Counted: 1}, where, nil
}

// idAndFields finds the ID and the fields of an entry, and checks them.
func (d *decoder) idAndFields() (where place, err error) {
	if where.id, err = d.text(); err != nil {
		return where, err
	}
	where.fields = span{d.pos, d.pos}
	line, err := d.line()
	if noneWaiting(err) { // nil: an entry without fields
		return where, nil
	}
	if err != nil {
		return where, err
	}
	n, err := d.listLength(line, line[0] == '%')
	if noneWaiting(err) {
		return where, nil
	}
	if err != nil {
		return where, err
	}
	if line[0] == '%' {
		n *= 2
	}
	if n%2 != 0 {
		return where, fmt.Errorf("%w: %d names and values in an entry", errMalformed, n)
	}
	where.fields.from = d.pos
	for range n {
		if d.pos < len(d.reply) && d.reply[d.pos] == '|' {
			return where, fmt.Errorf("%w: an attribute among fields", errMalformed)
		}
		text, err := d.text()
		if err != nil {
			return where, err
		}
		where.size += rawSize(text.len())
	}
	where.fields.to = d.pos
	return where, nil
}

// line returns the first line of the next element. It returns an error of the server as one, and
// redis.Nil for nil.
func (d *decoder) line() ([]byte, error) {
	for {
		line, err := d.rawLine()
		if err != nil {
			return nil, err
		}
		switch line[0] {
		case '-':
			return nil, ownError(line[1:])
		case '_':
			return nil, redis.Nil
		case '!':
			text, end, err := bulkAt(d.reply, d.pos, line)
			if err != nil {
				return nil, err
			}
			d.pos = end
			return nil, ownError(d.reply[text.from:text.to])
		case '|':
			if err := d.skipAttribute(line); err != nil {
				return nil, err
			}
			continue
		}
		if string(line) == "$-1" || string(line) == "*-1" {
			return nil, redis.Nil
		}
		return line, nil
	}
}

func (d *decoder) rawLine() ([]byte, error) {
	line, ok, err := lineAt(d.reply[d.pos:])
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errCut
	}
	d.pos += len(line) + len(crlf)
	return line, nil
}

// skipAttribute skips an attribute, whose pairs are before the element that it belongs to.
func (d *decoder) skipAttribute(line []byte) error {
	n, err := lengthOf(line)
	for range 2 * max(n, 0) {
		var f frame
		complete, err := f.scan(d.reply[d.pos:])
		if err != nil {
			return err
		}
		if !complete {
			return errCut
		}
		d.pos += f.pos
	}
	return err
}

// listLength returns how many elements a list has, or how many pairs a map.
func (d *decoder) listLength(line []byte, isMap bool) (int, error) {
	switch {
	case isMap && line[0] == '%', !isMap && (line[0] == '*' || line[0] == '~' || line[0] == '>'):
	default:
		return 0, fmt.Errorf("%w: %.100q instead of a list", errMalformed, line)
	}
	n, err := lengthOf(line)
	if err == nil && n < 0 {
		return 0, redis.Nil
	}
	return n, err
}

// listHeader returns how many elements the list has that comes next.
func (d *decoder) listHeader() (int, error) {
	line, err := d.line()
	if err != nil {
		return 0, err
	}
	return d.listLength(line, false)
}

// fixedList is listHeader for a list whose length is known.
func (d *decoder) fixedList(want int) error {
	n, err := d.listHeader()
	if err == nil && n != want {
		return fmt.Errorf("%w: %d elements instead of %d", errMalformed, n, want)
	}
	return err
}

// text decodes a string.
func (d *decoder) text() (span, error) {
	line, err := d.line()
	if err != nil {
		return span{}, err
	}
	text, end, err := textAt(d.reply, d.pos-len(line)-len(crlf))
	if err == nil {
		d.pos = end
	}
	return text, err
}

func (d *decoder) integer() (int64, error) {
	s, err := d.text()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(d.reply[s.from:s.to]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return n, nil
}
