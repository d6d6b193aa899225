package command

import (
	"context"
	"io"
	"os"

	"github.com/redis/go-redis/v9"
	"golang.org/x/term"
)

// Streams is what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string

	InTerminal  bool                       // a person can answer
	OutTerminal bool                       // Out can be redrawn
	Size        func() (width, height int) // of the terminal
}

// quiet drops what go-redis logs: each error is the command's, in one line.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Process returns the streams of the process.
func Process() Streams {
	redis.SetLogger(quiet{})
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
		InTerminal: term.IsTerminal(in), OutTerminal: term.IsTerminal(out),
		Size: func() (width, height int) {
			width, height, err := term.GetSize(out)
			if err != nil {
				return 80, 24
			}
			return width, height
		},
	}
}
