// Command redisstream inspects and repairs topics of redisstream, and any other Redis streams. Run
// "redisstream help"; docs/command.md describes it.
package main

import (
	"os"

	"github.com/millrace/redisstream/cmd/redisstream/internal/command"
)

func main() { os.Exit(command.Main()) }
