// Package monitoringtest checks the files in monitoring/ with a real Prometheus.
package monitoringtest

import (
	"testing"

	"github.com/millrace/redisstream/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }
