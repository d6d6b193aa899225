// Command redisstream inspects and repairs topics of redisstream, and any other Redis streams. Run
// "redisstream help"; docs/command.md describes it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace/redisstream/cmd/redisstream/internal/command"
)

func main() {
	// A second signal ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(command.Run(ctx, command.Process(), os.Args[1:]))
}
