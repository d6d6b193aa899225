package monitoringtest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/redisstream/internal/redistest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const monitoring = "../../monitoring/"

// longest is how long Prometheus may take to see everything: it scrapes each second.
const longest = 3 * time.Minute

// Each alert fires in a real Prometheus when what it is made for is provoked on a real server, and each
// query of the dashboard and of the alerts returns data.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	metrics := serveMetrics(t, newStage(t))
	api := startPrometheus(t, metrics)
	names := alertNames(t)
	require.Len(t, names, 14)
	var firing map[string]bool
	if !assert.Eventually(t, func() bool {
		firing = api.firing()
		for _, name := range names {
			if !firing[name] {
				return false
			}
		}
		return true
	}, longest, time.Second) {
		require.ElementsMatch(t, names, keys(firing), "the alerts that fire")
	}
	for _, query := range dashboardQueries(t) {
		assert.NotEmpty(t, api.query(t, query), query)
	}
	for _, name := range metricNames(t) {
		assert.NotEmpty(t, api.query(t, name), name)
	}
}

func serveMetrics(t *testing.T, collectors []prometheus.Collector) (addr string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collectors...)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// prometheusAPI is the HTTP API of a Prometheus server.
type prometheusAPI struct{ base string }

// startPrometheus starts a Prometheus that scrapes a target and evaluates the alert rules, with the minutes of the rules as
// seconds.
func startPrometheus(t *testing.T, target string) prometheusAPI {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	require.NoError(t, err, "install Prometheus: apt-get install prometheus")
	dir := t.TempDir()
	rules, err := os.ReadFile(monitoring + "alerts.yml")
	require.NoError(t, err)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("alerts.yml", faster(string(rules)))
	config := write("prometheus.yml", "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yml]\n"+
		"scrape_configs: [{job_name: redisstream, static_configs: [{targets: ['"+target+"', '"+dead(t)+"']}]}]\n")
	addr := "127.0.0.1:" + redistest.FreePort()
	ctx, stop := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		stop()
		_ = command.Wait() // it was interrupted
		if t.Failed() {
			t.Log(output.String())
		}
	})
	return prometheusAPI{"http://" + addr + "/api/v1/"}
}

// dead serves metrics of a server that can't be reached.
func dead(t *testing.T) (addr string) {
	t.Helper()
	return serveMetrics(t, []prometheus.Collector{newCollector(t, unreachable(t), nil)})
}

// faster makes minutes and hours of the rules seconds, and thresholds small.
func faster(rules string) string {
	rules = regexp.MustCompile(`for: \d+[mh]`).ReplaceAllString(rules, "for: 1s")
	rules = regexp.MustCompile(`\[\d+m\]`).ReplaceAllString(rules, "[20s]")
	return strings.NewReplacer("> 1000 ", "> 10 ", "> 1e9", "> 1e5").Replace(rules)
}

// get returns data of a reply; nil: there is none yet.
func (p prometheusAPI) get(path string) json.RawMessage {
	reply, err := http.Get(p.base + path)
	if err != nil {
		return nil
	}
	defer reply.Body.Close()
	var body struct {
		Data json.RawMessage `json:"data"`
	}
	if json.NewDecoder(reply.Body).Decode(&body) != nil {
		return nil
	}
	return body.Data
}

func (p prometheusAPI) firing() map[string]bool {
	var data struct {
		Alerts []struct {
			State  string            `json:"state"`
			Labels map[string]string `json:"labels"`
		} `json:"alerts"`
	}
	_ = json.Unmarshal(p.get("alerts"), &data) // none yet
	names := make(map[string]bool)
	for _, alert := range data.Alerts {
		if alert.State == "firing" {
			names[alert.Labels["alertname"]] = true
		}
	}
	return names
}

func (p prometheusAPI) query(t *testing.T, query string) []json.RawMessage {
	t.Helper()
	var data struct {
		Result []json.RawMessage `json:"result"`
	}
	require.NoError(t, json.Unmarshal(p.get("query?query="+url.QueryEscape(query)), &data), query)
	return data.Result
}

func alertNames(t *testing.T) (names []string) {
	t.Helper()
	rules, err := os.ReadFile(monitoring + "alerts.yml")
	require.NoError(t, err)
	for _, match := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		names = append(names, match[1])
	}
	return names
}

// metricNames returns the metrics that the rules and the dashboard name.
func metricNames(t *testing.T) (names []string) {
	t.Helper()
	for _, file := range []string{"alerts.yml", "dashboard.json"} {
		text, err := os.ReadFile(monitoring + file)
		require.NoError(t, err)
		text = regexp.MustCompile(`(?m)^ *#.*$`).ReplaceAll(text, nil) // comments
		names = append(names, regexp.MustCompile(`redisstream_\w+[a-z]`).FindAllString(string(text), -1)...)
	}
	require.NotEmpty(t, names)
	return names
}

// dashboardQueries returns the queries of the dashboard, with its variables replaced.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile(monitoring + "dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, strings.NewReplacer("$topic", ".*", "$group", ".*", "$__rate_interval", "20s").Replace(target.Expr))
		}
	}
	require.Greater(t, len(queries), 20)
	return queries
}

func keys(set map[string]bool) (list []string) {
	for key := range set {
		list = append(list, key)
	}
	return list
}

// Rules and their tests are what promtool accepts.
func TestMonitoring_promtool(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		command := exec.Command("promtool", args...)
		command.Dir = monitoring
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s (promtool comes with Prometheus: apt-get install prometheus)", output)
	}
}

// Each alert has a test and a section of the runbook, to which it leads.
func TestMonitoring_runbook(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	rules, tests, runbook := read(monitoring+"alerts.yml"), read(monitoring+"alerts_test.yml"), read("../../docs/runbook.md")
	for _, name := range alertNames(t) {
		assert.Contains(t, rules, "docs/runbook.md#"+strings.ToLower(name)+"\n", name)
		assert.Contains(t, runbook, "\n## "+name+"\n", name)
		assert.Contains(t, tests, name+", fires\n", name)
		assert.Contains(t, tests, name+", quiet\n", name)
	}
}
