package stream

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxWords bounds one command: unpack fails in a script near 8,000 values.
	maxWords = 7000
	// maxCommands bounds a Transaction, because a script blocks the server.
	maxCommands = 10_000
)

var (
	// ErrRefused is wrapped by errors about a command that can't be part of a Transaction.
	ErrRefused = errors.New("the command can't be part of a Commit")

	errExec     = errors.New("Exec, Pipelined and TxPipelined are not for the transaction of a Commit: Commit sends what is queued")
	errNoResult = errors.New("Commit returns no replies of commands")
)

// Transaction collects the commands that Group.Commit runs. It is a redis.Pipeliner that sends
// nothing by itself.
type Transaction struct {
	redis.Pipeliner

	client redis.UniversalClient
	execed bool
	words  [][]any // set by Prepare
	keys   []string
}

// NewTransaction returns an empty Transaction.
func NewTransaction(client redis.UniversalClient) *Transaction {
	return &Transaction{Pipeliner: client.Pipeline(), client: client}
}

// Exec is part of redis.Pipeliner. It sends nothing and fails.
func (t *Transaction) Exec(context.Context) ([]redis.Cmder, error) {
	t.execed = true
	return nil, errExec
}

// Pipelined is part of redis.Pipeliner. It fails like Exec.
func (t *Transaction) Pipelined(ctx context.Context, _ func(redis.Pipeliner) error) ([]redis.Cmder, error) {
	return t.Exec(ctx)
}

// TxPipelined is part of redis.Pipeliner. It fails like Exec.
func (t *Transaction) TxPipelined(ctx context.Context, _ func(redis.Pipeliner) error) ([]redis.Cmder, error) {
	return t.Exec(ctx)
}

// Pipeline is part of redis.Pipeliner: what is queued in it is part of the transaction.
func (t *Transaction) Pipeline() redis.Pipeliner { return t }

// TxPipeline is part of redis.Pipeliner: what is queued in it is part of the transaction.
func (t *Transaction) TxPipeline() redis.Pipeliner { return t }

// Prepare checks all commands before anything is sent. Errors wrap ErrRefused and name the command.
// In a cluster, and on a ring, all keys must be in the slot of key.
func (t *Transaction) Prepare(key string) error {
	if t.execed {
		return fmt.Errorf("%w: %w", ErrRefused, errExec)
	}
	commands := t.Cmds()
	if len(commands) > maxCommands {
		return fmt.Errorf("%w: %d commands; at most %d", ErrRefused, len(commands), maxCommands)
	}
	for _, command := range commands {
		if err := t.prepare(key, command); err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrRefused, command.Name(), err)
			command.SetErr(err)
			return err
		}
	}
	for _, command := range commands {
		command.SetErr(errNoResult)
	}
	return nil
}

func (t *Transaction) prepare(key string, command redis.Cmder) error {
	w, known := writeOf(command.Name())
	if !known {
		return errors.New("it is not a command that writes, does not block and runs in scripts; " +
			"read before Commit, and use commands that Commit lists")
	}
	words, err := encode(command.Args())
	if err != nil {
		return err
	}
	if err := w.check(len(words)); err != nil {
		return err
	}
	keys, err := w.keys(words)
	if err != nil {
		return err
	}
	if t.isSharded() {
		for _, other := range keys {
			if slot(other) != slot(key) {
				return fmt.Errorf("key %q is in another hash slot than %q: give both the same hash tag", other, key)
			}
		}
	}
	t.words, t.keys = append(t.words, words), append(t.keys, keys...)
	return nil
}

// isSharded reports whether keys are on several servers.
func (t *Transaction) isSharded() bool {
	switch t.client.(type) {
	case nodeClient:
		return false
	default: // a cluster, a ring, or a client that hides which one it is
		return true
	}
}

// encode returns the words of a command, as go-redis would write them. What it can't write is an
// error here, where nothing was sent.
func encode(args []any) ([]any, error) {
	if len(args) > maxWords {
		return nil, fmt.Errorf("%d arguments; at most %d", len(args)-1, maxWords-1)
	}
	words := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case nil:
			words[i] = ""
		case string, []byte, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
			words[i] = arg
		case bool:
			words[i] = flag(arg)
		case time.Duration:
			words[i] = arg.Nanoseconds()
		case time.Time:
			words[i] = arg.Format(time.RFC3339Nano)
		case net.IP:
			words[i] = []byte(arg)
		case encoding.BinaryMarshaler:
			data, err := arg.MarshalBinary()
			if err != nil {
				return nil, fmt.Errorf("argument %d: %w", i, err)
			}
			words[i] = data
		default:
			return nil, fmt.Errorf("argument %d is a %T; use a string, a []byte or a number", i, arg)
		}
	}
	return words, nil
}
