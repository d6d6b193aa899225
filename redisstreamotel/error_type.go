package redisstreamotel

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/millrace/redisstream"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// namedErrors are the errors that have a name as error.type.
var namedErrors = []struct {
	err  error
	name string
}{
	{redisstream.ErrPublisherClosed, "publisher_closed"},
	{redisstream.ErrNotReplicated, "not_replicated"},
	{redisstream.ErrNotHeld, "not_held"},
	{redisstream.ErrCommitUncertain, "commit_uncertain"},
	{redisstream.ErrCommitRefused, "commit_refused"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "deadline_exceeded"},
}

// errorType returns error.type: a name, the code of a server's error (OOM, NOPERM ...), "timeout",
// or the Go type.
func errorType(err error) attribute.KeyValue {
	for _, named := range namedErrors {
		if errors.Is(err, named.err) {
			return semconv.ErrorTypeKey.String(named.name)
		}
	}
	if server, ok := errors.AsType[redis.Error](err); ok {
		if code, _, _ := strings.Cut(server.Error(), " "); code != "" && code == strings.ToUpper(code) {
			return semconv.ErrorTypeKey.String(code)
		}
	}
	if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
		return semconv.ErrorTypeKey.String("timeout")
	}
	if failure, ok := errors.AsType[*redisstream.PublishError](err); ok {
		err = failure.Err
	}
	return semconv.ErrorType(err)
}
