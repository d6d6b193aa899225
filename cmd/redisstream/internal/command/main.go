package command

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Main runs the program with the arguments of the process, and returns its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return Run(ctx, Process(), os.Args[1:])
}
