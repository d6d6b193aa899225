package members

import (
	"os"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
)

func TestMain(m *testing.M) {
	if topic := os.Getenv(workerVariable); topic != "" {
		work(topic)
		return
	}
	redistest.Main(m)
}
