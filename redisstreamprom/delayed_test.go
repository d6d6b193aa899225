package redisstreamprom_test

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
)

// delayed makes a message one for later.
func delayed(msg *message.Message) { delay.Message(msg, delay.For(time.Hour)) }
