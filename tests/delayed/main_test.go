package delayed

import (
	"os"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(workerEnv); config != "" {
		work(config)
		return
	}
	redistest.Main(m)
}
