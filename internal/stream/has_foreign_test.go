package stream_test

import (
	"strconv"
	"testing"

	"github.com/millrace/redisstream/internal/stream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	lua "github.com/yuin/gopher-lua"
)

// hasForeign runs the script of the consumer "me" on a server whose XPENDING says that so many entries
// are pending, and how many of them each consumer has.
func hasForeign(t *testing.T, pending int, consumers map[string]int) bool {
	t.Helper()
	l := lua.NewState()
	defer l.Close()
	call := func(l *lua.LState) int {
		require.Equal(t, []string{"XPENDING", "stream", "group"}, []string{l.Get(1).String(), l.Get(2).String(), l.Get(3).String()})
		var list lua.LValue = lua.LFalse // nothing is pending for any consumer
		if len(consumers) > 0 {
			var all []lua.LValue
			for name, n := range consumers {
				all = append(all, rows(l, []lua.LValue{lua.LString(name), lua.LString(strconv.Itoa(n))}))
			}
			list = rows(l, all)
		}
		l.Push(rows(l, []lua.LValue{lua.LNumber(pending), entryID(1), entryID(9), list}))
		return 1
	}
	l.SetGlobal("redis", l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"call": call}))
	l.SetGlobal("KEYS", rows(l, []lua.LValue{lua.LString("stream")}))
	l.SetGlobal("ARGV", rows(l, []lua.LValue{lua.LString("group"), lua.LString("me")}))
	require.NoError(t, l.DoString(stream.HasForeignSource))
	return lua.LVAsNumber(l.Get(-1)) == 1
}

// Since Redis 8.8 an entry may be pending for nobody (XNACK): the list of the consumers lacks it, but the
// number of all pending entries counts it.
func TestHasForeign_entriesOfNobody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pending   int
		consumers map[string]int
		want      bool
	}{
		"nothing is pending":                {0, nil, false},
		"ours":                              {3, map[string]int{"me": 3}, false},
		"ours, of many consumers":           {3, map[string]int{"a": 0, "me": 3, "z": 0}, false},
		"another's":                         {2, map[string]int{"a": 2}, true},
		"ours and another's":                {5, map[string]int{"a": 2, "me": 3}, true},
		"nobody's":                          {1, nil, true},
		"ours and nobody's":                 {4, map[string]int{"me": 3}, true},
		"nobody's, in the list of the rows": {4, map[string]int{"me": 3, "": 1}, true},
	} {
		assert.Equal(t, test.want, hasForeign(t, test.pending, test.consumers), name)
	}
}
