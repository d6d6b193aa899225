package closing

import (
	"os"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(rollingEnv); config != "" {
		rollingWorker(config)
		return
	}
	redistest.Main(m)
}
