package redisstreamotel

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
)

var (
	// roundTrips are the buckets that the semantic conventions ask for, in seconds.
	roundTrips = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	// waits are the buckets of what takes as long as backlogs last, in seconds.
	waits = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600}
	// counts are the buckets of the messages of a pipeline.
	counts = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096}
)

// instruments are those of the semantic conventions, and those that only redisstream has.
type instruments struct {
	sent           metric.Int64Counter
	consumed       metric.Int64Counter
	operation      metric.Float64Histogram
	process        metric.Float64Histogram
	publishedBytes metric.Int64Counter
	batch          metric.Int64Histogram
	redelivered    metric.Int64Counter
	delay          metric.Float64Histogram
	acked          metric.Int64Counter
	takenOver      metric.Int64Counter
	leasesLost     metric.Int64Counter
	deadLettered   metric.Int64Counter
	parked         metric.Int64Counter
	trimmedUnread  metric.Int64Counter
	heldEntries    metric.Int64UpDownCounter
	heldBytes      metric.Int64UpDownCounter
	reconnects     metric.Int64Counter
	closeDuration  metric.Float64Histogram
}

// newInstruments creates the instruments. docs/metrics.md has the same names, units and texts; a test
// compares them.
func newInstruments(meter metric.Meter) (i instruments, err error) {
	var failures []error
	check := func(err error) {
		if err != nil {
			failures = append(failures, err)
		}
	}
	counter := func(name, unit, text string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
		check(err)
		return c
	}
	gauge := func(name, unit, text string) metric.Int64UpDownCounter {
		c, err := meter.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		check(err)
		return c
	}
	seconds := func(name, text string) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(waits...))
		check(err)
		return h
	}
	check(i.conventional(meter))
	i.batch, err = meter.Int64Histogram("redisstream.publish.batch", metric.WithUnit("{message}"),
		metric.WithDescription("Messages of one pipeline."), metric.WithExplicitBucketBoundaries(counts...))
	check(err)
	check(err)
	i.publishedBytes = counter("redisstream.published.size", "By", "Bytes of the fields of published messages.")
	i.redelivered = counter("redisstream.redelivered.messages", "{message}", "Messages that handlers received again.")
	i.delay = seconds("redisstream.delivery.delay", "Time from the entry's ID to its first delivery.")
	i.acked = counter("redisstream.acked.messages", "{message}", "Entries that the server acknowledged.")
	i.takenOver = counter("redisstream.taken_over.entries", "{entry}", "Entries claimed from idle consumers.")
	i.leasesLost = counter("redisstream.lost.leases", "{lease}", "Entries that were lost to another consumer while they were held.")
	i.deadLettered = counter("redisstream.dead_lettered.messages", "{message}", "Entries that became dead letters, by reason.")
	i.parked = counter("redisstream.parked.messages", "{message}", "Entries put into the retry queue of the group.")
	i.trimmedUnread = counter("redisstream.trimmed_unread.entries", "{entry}", "Entries dropped from the stream before they were read.")
	i.heldEntries = gauge("redisstream.read_ahead.entries", "{entry}", "Entries that subscriptions hold.")
	i.heldBytes = gauge("redisstream.read_ahead.size", "By", "Bytes of the entries that subscriptions hold.")
	i.reconnects = counter("redisstream.reconnects", "{connection}", "Connections of subscriptions that were opened again.")
	i.closeDuration = seconds("redisstream.close.duration", "Time that the end of a subscription or Publisher took.")
	return i, errors.Join(failures...)
}

// conventional creates the instruments of the semantic conventions.
func (i *instruments) conventional(meter metric.Meter) error {
	sent, failedSent := messagingconv.NewClientSentMessages(meter)
	consumed, failedConsumed := messagingconv.NewClientConsumedMessages(meter)
	operation, failedOperation := messagingconv.NewClientOperationDuration(meter, metric.WithExplicitBucketBoundaries(roundTrips...))
	process, failedProcess := messagingconv.NewProcessDuration(meter, metric.WithExplicitBucketBoundaries(roundTrips...))
	i.sent, i.consumed, i.operation, i.process = sent.Inst(), consumed.Inst(), operation.Inst(), process.Inst()
	return errors.Join(failedSent, failedConsumed, failedOperation, failedProcess)
}
