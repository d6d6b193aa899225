package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/internal/stream"
	"github.com/redis/go-redis/v9"
)

// KeyRepositoryConfig configures a KeyRepository. Client and Window are required.
type KeyRepositoryConfig struct {
	// Client stores the keys. It stays open. Required.
	Client redis.UniversalClient

	// Prefix is put before the names of all keys. Repositories with the same Prefix share their
	// keys, in all processes.
	//
	// Set it where handlers of one group look for duplicates of different things. Defaults to
	// "dedup:".
	Prefix string

	// Window is how long a key is remembered after its first message, at least 1 ms. Required.
	//
	// Make it longer than the time in which a producer may repeat a message. The server's memory
	// holds a key of about 150 bytes for each message of a window.
	Window time.Duration
}

// DefaultKeyPrefix is the default of KeyRepositoryConfig.Prefix.
const DefaultKeyPrefix = "dedup:"

// KeyRepository remembers the keys of messages on the server, for Watermill's
// middleware.Deduplicator: a message whose key another message had within the window is acked and
// not handled. All processes that share a Prefix share the keys. It is safe for concurrent use.
//
//	repository, err := redisstream.NewKeyRepository(redisstream.KeyRepositoryConfig{Client: client, Window: time.Hour})
//	...
//	router.AddMiddleware((&middleware.Deduplicator{
//		KeyFactory: func(msg *message.Message) (string, error) { return msg.UUID, nil },
//		Repository: repository,
//		Timeout:    time.Second,
//	}).Middleware)
//
// A redelivery is no duplicate. For a message of a Subscriber, the key belongs to its entry: if the
// handler fails or its process dies, the same entry is handled again, by any consumer of the group.
// Each group has keys of its own. A dead letter that is replayed is a new entry: replay it after
// the window, or it is taken for a duplicate.
type KeyRepository struct {
	keys   stream.ExpiringKeys
	prefix string
}

// NewKeyRepository returns a KeyRepository. Errors wrap ErrInvalidConfig and name the field. No
// command is sent to the server yet.
func NewKeyRepository(config KeyRepositoryConfig) (*KeyRepository, error) {
	switch {
	case config.Client == nil:
		return nil, invalid("KeyRepositoryConfig.Client", errRequired)
	case config.Window < time.Millisecond:
		return nil, invalid("KeyRepositoryConfig.Window", fmt.Errorf("%s is less than 1ms", config.Window))
	}
	if config.Prefix == "" {
		config.Prefix = DefaultKeyPrefix
	}
	return &KeyRepository{keys: stream.ExpiringKeys{Client: config.Client, Window: config.Window}, prefix: config.Prefix}, nil
}

var errEmptyKey = errors.New("key is empty")

// IsDuplicate reports whether the key belongs to another message, and remembers it for the window
// otherwise (SET NX GET PX, one command). ctx is the context of the message: its entry is what the
// key belongs to. Without an entry, as in a decorated Publisher, the key belongs to the call.
//
// The name of the key on the server is the prefix, the group and ":" if there is one, and the key.
// After an error it is unknown whether the key was remembered. To ask again is right for a message
// with an entry; otherwise the answer may be true.
func (r *KeyRepository) IsDuplicate(ctx context.Context, key string) (bool, error) {
	if key == "" {
		return false, fmt.Errorf("look for a duplicate: %w", errEmptyKey)
	}
	name, owner := r.prefix, "call "+watermill.NewUUID()
	if entry, ok := EntryFromContext(ctx); ok {
		owner = "entry " + entry.Stream + " " + entry.ID
		if entry.Group != "" {
			name += entry.Group + ":"
		}
	}
	other, err := r.keys.Claim(ctx, name+key, owner)
	if err != nil {
		return false, fmt.Errorf("look for a duplicate: %w", stream.Redact(err))
	}
	return other, nil
}
