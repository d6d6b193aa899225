package readconnections

import (
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }
