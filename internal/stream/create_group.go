package stream

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/create_group.lua
	createGroupSource string
	createGroupScript = redis.NewScript(createGroupSource)
)
