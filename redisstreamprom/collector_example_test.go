package redisstreamprom_test

import (
	"log"
	"net/http"

	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/redisstreamprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
)

// One process collects the state of all topics and groups.
func ExampleNewCollector() { //nolint:testableexamples // it needs a server
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	operator, err := admin.New(admin.Config{Client: client})
	if err != nil {
		panic(err)
	}
	collector, err := redisstreamprom.NewCollector(redisstreamprom.CollectorConfig{
		Admin: operator, OnError: func(err error) { log.Print(err) },
	})
	if err != nil {
		panic(err)
	}
	prometheus.MustRegister(collector)
	http.Handle("/metrics", promhttp.Handler())
}
