package redisstream_test

import (
	"os"
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
)

func TestMain(m *testing.M) {
	// For TestPubSub_stress. With t.Setenv the test could not run in parallel.
	if err := os.Setenv("STRESS_TEST_COUNT", "2"); err != nil {
		panic(err)
	}
	redistest.Main(m)
}
