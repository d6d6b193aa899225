package stream_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	lua "github.com/yuin/gopher-lua"
)

const (
	nodeSize  = 100
	trimLimit = 1000
	lastID    = "18446744073709551615-18446744073709551615"
)

// fakeGroup is a group that read the entries 1 to delivered.
type fakeGroup struct {
	delivered int
	pending   []int
}

// fakeStream answers like server versions that the tests may not have. Its entries are 1-0, 2-0 and
// so on, a hundred in each node.
type fakeStream struct {
	t       *testing.T
	live    []int
	groups  []fakeGroup
	acked   string // what XTRIM ~ ... ACKED does: "unknown", "nothing", "works"
	trims   []string
	largest int // the most that one command dropped or returned
}

func newFakeStream(t *testing.T, n int, acked string, groups ...fakeGroup) *fakeStream {
	t.Helper()
	f := &fakeStream{t: t, acked: acked, groups: groups}
	for i := range n {
		f.live = append(f.live, i+1)
	}
	return f
}

// run runs the script once, and returns its result.
func (f *fakeStream) run(age, keep int) int {
	f.t.Helper()
	l := lua.NewState()
	defer l.Close()
	list := func(values ...string) *lua.LTable {
		table := l.NewTable()
		for _, value := range values {
			table.Append(lua.LString(value))
		}
		return table
	}
	call := func(l *lua.LState) int {
		words := make([]string, l.GetTop())
		for i := range words {
			words[i] = l.Get(i + 1).String()
		}
		l.Push(f.answer(l, words))
		return 1
	}
	l.SetGlobal("redis", l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"call": call, "pcall": call}))
	l.SetGlobal("KEYS", list("stream"))
	l.SetGlobal("ARGV", list(strconv.Itoa(age), strconv.Itoa(keep), strconv.Itoa(trimLimit)))
	require.NoError(f.t, l.DoString(stream.TrimSource))
	return int(lua.LVAsNumber(l.Get(-1)))
}

// runAll runs the script as Trim does, and returns the entries that are left.
func (f *fakeStream) runAll() []int {
	f.t.Helper()
	for range 1000 {
		if f.run(0, 0) < trimLimit/2 {
			return f.live
		}
	}
	require.FailNow(f.t, "it does not end")
	return nil
}

func (f *fakeStream) answer(l *lua.LState, words []string) lua.LValue {
	switch words[0] {
	case "XLEN":
		return lua.LNumber(len(f.live))
	case "TIME":
		return rows(l, []lua.LValue{lua.LString("1700000000"), lua.LString("5")})
	case "XINFO":
		return f.info(l)
	case "XPENDING":
		return f.pending(l, words)
	case "XRANGE":
		return f.span(l, words)
	case "XTRIM":
		return f.trim(l, words)
	default:
		require.FailNow(f.t, "unexpected command", words)
		return lua.LNil
	}
}

func rows(l *lua.LState, values []lua.LValue) *lua.LTable {
	table := l.NewTable()
	for _, value := range values {
		table.Append(value)
	}
	return table
}

func entryID(n int) lua.LString { return lua.LString(fmt.Sprintf("%d-0", n)) }

// number returns the first entry whose ID is not before id.
func number(id string) int {
	ms, seq, _ := strings.Cut(strings.TrimPrefix(id, "("), "-")
	n, err := strconv.Atoi(ms)
	if err != nil {
		return 1 << 60
	}
	if seq != "0" {
		n++
	}
	return n
}

func (f *fakeStream) info(l *lua.LState) lua.LValue {
	var all []lua.LValue
	for i, g := range f.groups {
		all = append(all, rows(l, []lua.LValue{
			lua.LString("name"), lua.LString(strconv.Itoa(i)), lua.LString("pending"), lua.LNumber(len(g.pending)),
			lua.LString("last-delivered-id"), entryID(g.delivered),
		}))
	}
	return rows(l, all)
}

func (f *fakeStream) pending(l *lua.LState, words []string) lua.LValue {
	place, err := strconv.Atoi(words[2])
	require.NoError(f.t, err)
	list := f.groups[place].pending
	if len(words) == 3 {
		return rows(l, []lua.LValue{lua.LNumber(len(list)), entryID(list[0])})
	}
	most, err := strconv.Atoi(words[5])
	require.NoError(f.t, err)
	var all []lua.LValue
	for _, n := range list[:min(most, len(list))] {
		all = append(all, rows(l, []lua.LValue{entryID(n)}))
	}
	f.largest = max(f.largest, len(all))
	return rows(l, all)
}

func (f *fakeStream) span(l *lua.LState, words []string) lua.LValue {
	most, err := strconv.Atoi(words[5])
	require.NoError(f.t, err)
	from, before := 0, 1<<60
	if words[2] != "-" {
		from = number(words[2])
	}
	if words[3] != "+" {
		require.Equal(f.t, "(", words[3][:1])
		before = number(words[3])
	}
	var all []lua.LValue
	for _, n := range f.live {
		if n >= from && n < before && len(all) < most {
			all = append(all, rows(l, []lua.LValue{entryID(n)}))
		}
	}
	f.largest = max(f.largest, len(all))
	return rows(l, all)
}

// unacknowledged reports whether a group has not acknowledged the entry.
func (f *fakeStream) unacknowledged(n int) bool {
	return slices.ContainsFunc(f.groups, func(g fakeGroup) bool { return n > g.delivered || slices.Contains(g.pending, n) })
}

func (f *fakeStream) trim(l *lua.LState, words []string) lua.LValue {
	f.trims = append(f.trims, strings.Join(words[2:], " "))
	if words[3] != "~" {
		return f.exact(words[3])
	}
	require.Equal(f.t, "LIMIT", words[5])
	limit, err := strconv.Atoi(words[6])
	require.NoError(f.t, err)
	require.Positive(f.t, limit, "0 is no limit")
	onlyAcked := slices.Contains(words, "ACKED")
	if onlyAcked && f.acked == "unknown" {
		failure := l.NewTable()
		failure.RawSetString("err", lua.LString("ERR syntax error"))
		return failure
	}
	dropped := 0
	for node := 0; !onlyAcked || f.acked == "works"; node++ {
		first, last := node*nodeSize+1, (node+1)*nodeSize
		inNode := func(n int) bool { return n >= first && n <= last }
		size := len(slices.DeleteFunc(slices.Clone(f.live), func(n int) bool { return !inNode(n) }))
		if last >= number(words[4]) || dropped+size > limit {
			break
		}
		before := len(f.live)
		f.live = slices.DeleteFunc(f.live, func(n int) bool { return inNode(n) && (!onlyAcked || !f.unacknowledged(n)) })
		dropped += before - len(f.live)
	}
	f.largest = max(f.largest, dropped)
	return lua.LNumber(dropped)
}

// exact trims up to an ID. If no entry has that ID, a real server may keep a node without entries.
func (f *fakeStream) exact(id string) lua.LValue {
	if id == lastID {
		id = "1000000000-0"
	} else {
		require.Contains(f.t, f.live, number(id), "MINID %s is not the ID of an entry", id)
	}
	before := len(f.live)
	f.live = slices.DeleteFunc(f.live, func(n int) bool {
		require.False(f.t, n < number(id) && f.unacknowledged(n), "entry %d is lost", n)
		return n < number(id)
	})
	require.LessOrEqual(f.t, before-len(f.live), nodeSize, "an exact trim has no limit")
	return lua.LNumber(before - len(f.live))
}

func TestTrimScript(t *testing.T) {
	t.Parallel()
	const total = 5050
	all := fakeGroup{delivered: total}
	held := fakeGroup{delivered: total, pending: []int{1, 2520}}
	for name, test := range map[string]struct {
		groups []fakeGroup
		left   map[string]int // by what ACKED does
	}{
		"all acknowledged":    {[]fakeGroup{all, all}, map[string]int{"unknown": 0, "nothing": 0, "works": 0}},
		"no group":            {nil, map[string]int{"unknown": total, "nothing": total, "works": total}},
		"a slow group":        {[]fakeGroup{all, {delivered: 1230}}, map[string]int{"unknown": total - 1230, "nothing": total - 1230, "works": total - 1230}},
		"pending entries":     {[]fakeGroup{held, all}, map[string]int{"unknown": total, "nothing": total, "works": 2 + 50}},
		"nothing was read":    {[]fakeGroup{all, {}}, map[string]int{"unknown": total, "nothing": total, "works": total}},
		"pending in the last": {[]fakeGroup{{delivered: total, pending: []int{5020}}}, map[string]int{"unknown": 31, "nothing": 31, "works": 31}},
	} {
		for acked, left := range test.left {
			t.Run(name+", ACKED "+acked, func(t *testing.T) {
				t.Parallel()
				f := newFakeStream(t, total, acked, test.groups...)
				assert.Len(t, f.runAll(), left, f.trims)
				assert.LessOrEqual(t, f.largest, trimLimit)
				assert.Empty(t, slices.DeleteFunc(f.trims, func(trim string) bool { return !strings.Contains(trim, "ACKED") || test.groups[0].pending != nil }),
					"ACKED is for what lies between pending entries")
			})
		}
	}
}

// If XDEL has deleted entries, an exact trim ends at an entry that stays. If no entry stays, the
// whole node is dropped.
func TestTrimScript_holes(t *testing.T) {
	t.Parallel()
	f := newFakeStream(t, 90, "unknown", fakeGroup{delivered: 60, pending: []int{50}})
	// This includes the pending entry.
	f.live = slices.DeleteFunc(f.live, func(n int) bool { return n >= 50 && n < 70 })
	assert.Len(t, f.runAll(), 21)
	assert.Equal(t, "MINID 70-0", f.trims[len(f.trims)-1])

	f = newFakeStream(t, 90, "unknown", fakeGroup{delivered: 60})
	f.live = slices.DeleteFunc(f.live, func(n int) bool { return n > 60 })
	assert.Empty(t, f.runAll())
	assert.Equal(t, "MINID "+lastID, f.trims[len(f.trims)-1])
}

// One call visits at most a thousand pending entries of each group, and one node.
func TestTrimScript_manyPending(t *testing.T) {
	t.Parallel()
	var pending []int
	for n := 1; n <= 5000; n += 2 {
		pending = append(pending, n)
	}
	f := newFakeStream(t, 5000, "works", fakeGroup{delivered: 5000, pending: pending}, fakeGroup{delivered: 5000})
	f.runAll()
	assert.LessOrEqual(t, f.largest, trimLimit)
	assert.Contains(t, strings.Join(f.trims, "\n"), "MINID ~ 1999-0 LIMIT 1000 ACKED")
}

func TestTrimScript_keeps(t *testing.T) {
	t.Parallel()
	for _, acked := range []string{"unknown", "nothing", "works"} {
		f := newFakeStream(t, 1000, acked, fakeGroup{delivered: 1000})
		for range 10 {
			f.run(0, 333)
		}
		assert.Len(t, f.live, 400, "ACKED "+acked)
		f = newFakeStream(t, 1000, acked, fakeGroup{delivered: 1000})
		f.run(1700000000000-500, 0) // the age of 500-0
		assert.Len(t, f.live, 501, "ACKED "+acked)
		f = newFakeStream(t, 1000, acked, fakeGroup{delivered: 1000})
		assert.Zero(t, f.run(9_000_000_000_000, 0), "older than all clocks")
		assert.Empty(t, f.trims)
	}
}
