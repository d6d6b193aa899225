package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// keyShape says which words of a command are keys. Word 0 is the name.
type keyShape struct {
	first int
	last  int // negative: counted from the end, -1 is the last word
	step  int
	count int // the word that has the number of keys which follow it, beside those above; 0: none
}

var (
	noKey       = keyShape{}
	oneKey      = keyShape{first: 1, last: 1, step: 1}
	twoKeys     = keyShape{first: 1, last: 2, step: 1}
	allKeys     = keyShape{first: 1, last: -1, step: 1}
	allButFirst = keyShape{first: 2, last: -1, step: 1}
	everyOther  = keyShape{first: 1, last: -1, step: 2}
	oneAndCount = keyShape{first: 1, last: 1, step: 1, count: 2}
	countedKeys = keyShape{count: 1}
)

// writes are the commands that a Transaction may have, each with its number of words, the name
// included; negative: at least that many. They write, do not block, and run in scripts. A list of
// our own needs no right to ask the server (COMMAND), and knows the keys before anything is sent.
var writes = []struct {
	shape keyShape
	names string
}{
	{noKey, "publish/3"},
	{oneKey, "append/3 bitfield/-2 decr/2 decrby/3 getdel/2 getex/-2 getset/3 incr/2 incrby/3 incrbyfloat/3 " +
		"psetex/4 set/-3 setbit/4 setex/4 setnx/3 setrange/4 delex/-2 delifeq/3"},
	{oneKey, "expire/-3 expireat/-3 pexpire/-3 pexpireat/-3 persist/2 restore/-4"},
	{oneKey, "hdel/-3 hincrby/4 hincrbyfloat/4 hmset/-4 hset/-4 hsetnx/4 hexpire/-6 hexpireat/-6 hpexpire/-6 " +
		"hpexpireat/-6 hpersist/-5 hgetdel/-5 hgetex/-5 hsetex/-6"},
	{oneKey, "linsert/5 lpop/-2 lpush/-3 lpushx/-3 lrem/4 lset/4 ltrim/4 rpop/-2 rpush/-3 rpushx/-3"},
	{oneKey, "sadd/-3 spop/-2 srem/-3"},
	{oneKey, "zadd/-4 zincrby/4 zpopmax/-2 zpopmin/-2 zrem/-3 zremrangebylex/4 zremrangebyrank/4 zremrangebyscore/4"},
	{oneKey, "xadd/-5 xdel/-3 xtrim/-4 xack/-4 xackdel/-6 xdelex/-5"},
	{oneKey, "geoadd/-5 pfadd/-2"},
	{twoKeys, "copy/-3 rename/3 renamenx/3 lmove/5 rpoplpush/3 smove/4 zrangestore/-5 geosearchstore/-8"},
	{allKeys, "del/-2 unlink/-2 pfmerge/-2 sdiffstore/-3 sinterstore/-3 sunionstore/-3"},
	{everyOther, "mset/-3 msetnx/-3"},
	{allButFirst, "bitop/-4"},
	{oneAndCount, "zdiffstore/-4 zinterstore/-4 zunionstore/-4"},
	{countedKeys, "lmpop/-4 zmpop/-4"},
}

// write is one of the writes.
type write struct {
	keyShape

	words int // as in writes
}

// writeOf returns the write with a name in lower case.
func writeOf(name string) (write, bool) {
	w, known := writesByName()[name]
	return w, known
}

var writesByName = sync.OnceValue(func() map[string]write {
	table := make(map[string]write)
	for _, group := range writes {
		for entry := range strings.FieldsSeq(group.names) {
			name, words, _ := strings.Cut(entry, "/")
			n, err := strconv.Atoi(words)
			if err != nil {
				panic(err) // a wrong entry above
			}
			table[name] = write{group.shape, n}
		}
	}
	return table
})

// check returns an error for a command with too few or too many words.
func (w write) check(words int) error {
	if words == w.words || w.words < 0 && words >= -w.words {
		return nil
	}
	return fmt.Errorf("wrong number of arguments: %d", words-1)
}

// keys returns the keys among the words of a command.
func (w write) keys(words []any) (keys []string, err error) {
	last := w.last
	if last < 0 {
		last += len(words)
	}
	for i := w.first; w.step > 0 && i <= last; i += w.step {
		keys = append(keys, text(words[i]))
	}
	if w.count == 0 {
		return keys, nil
	}
	n, err := strconv.Atoi(text(words[w.count]))
	if rest := words[w.count+1:]; err == nil && n > 0 && n <= len(rest) {
		for _, key := range rest[:n] {
			keys = append(keys, text(key))
		}
		return keys, nil
	}
	return nil, errors.New("wrong number of keys")
}

// text returns a word as the server gets it. A word is a string, a []byte or a number.
func text(word any) string {
	switch word := word.(type) {
	case string:
		return word
	case []byte:
		return string(word)
	default:
		return fmt.Sprint(word)
	}
}
