package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/nats-io/nats.go"
)

// natsBroker is a nats-server with JetStream, whose topic is a stream in files.
type natsBroker struct {
	addr    string
	dir     string
	process *exec.Cmd
	conn    *nats.Conn
	stream  nats.JetStreamContext
}

// launchNATS starts the nats-server that go.mod names. syncInterval is how often it syncs its
// files; "always": before it confirms a message.
func launchNATS(syncInterval string) (*natsBroker, error) {
	build := exec.CommandContext(context.Background(), "go", "tool", "-n", "nats-server") // prints its path, too
	build.Stderr = os.Stderr
	path, err := build.Output()
	if err != nil {
		return nil, fmt.Errorf("building nats-server: %w", err)
	}
	dir, err := os.MkdirTemp("", "nats-")
	if err != nil {
		return nil, err
	}
	b := &natsBroker{addr: "127.0.0.1:" + redistest.FreePort(), dir: dir}
	config := fmt.Sprintf("listen: %q\njetstream: { store_dir: %q, sync_interval: %s }\n", b.addr, dir, syncInterval)
	file := filepath.Join(dir, "nats.conf")
	b.process = exec.CommandContext(context.Background(), strings.TrimSpace(string(path)), "-c", file, "-l", b.logfile())
	if err := errors.Join(os.WriteFile(file, []byte(config), 0o600), b.start()); err != nil {
		log, _ := os.ReadFile(b.logfile())
		b.stop()
		return nil, fmt.Errorf("nats-server: %w\n%s", err, log)
	}
	return b, nil
}

func (b *natsBroker) logfile() string { return filepath.Join(b.dir, "log") }

// start starts the process and waits until it answers.
func (b *natsBroker) start() error {
	if err := b.process.Start(); err != nil {
		return err
	}
	err := errors.New("not tried")
	if !until(startTimeout, func() bool {
		b.conn, err = nats.Connect(b.addr)
		return err == nil
	}) {
		return err
	}
	if b.stream, err = b.conn.JetStream(); err != nil {
		return err
	}
	_, err = b.stream.AccountInfo()
	return err
}

// startTimeout is how long a server may take to answer, on a busy machine.
const startTimeout = 20 * time.Second

func (b *natsBroker) address() string { return b.addr }

func (b *natsBroker) version() (string, error) {
	return "nats-server " + b.conn.ConnectedServerVersion(), nil
}

func (b *natsBroker) empty() error {
	if err := b.stream.DeleteStream(topic); err != nil && !errors.Is(err, nats.ErrStreamNotFound) {
		return err
	}
	_, err := b.stream.AddStream(&nats.StreamConfig{Name: topic, Subjects: []string{topic}, Storage: nats.FileStorage})
	return err
}

func (b *natsBroker) fill(n int, payload []byte) error {
	for sent := range n {
		msg, err := (&wmnats.NATSMarshaler{}).Marshal(topic, message.NewMessage("uuid", payload))
		if err != nil {
			return err
		}
		if _, err := b.stream.PublishMsgAsync(msg); err != nil {
			return err
		}
		const unconfirmed = 1000 // the client refuses more than 4,000
		if sent%unconfirmed < unconfirmed-1 && sent < n-1 {
			continue
		}
		select {
		case <-b.stream.PublishAsyncComplete():
		case <-time.After(time.Minute):
			return errors.New("JetStream confirms no messages")
		}
	}
	info, err := b.stream.StreamInfo(topic)
	if err == nil && info.State.Msgs != uint64(n) {
		err = fmt.Errorf("%d of %d messages are in the stream", info.State.Msgs, n)
	}
	return err
}

func (b *natsBroker) acked() (int64, error) {
	info, err := b.stream.ConsumerInfo(topic, group)
	if err != nil {
		return 0, err
	}
	return int64(info.AckFloor.Stream), nil
}

func (b *natsBroker) stop() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.process.Process != nil {
		_ = b.process.Process.Kill()
		_ = b.process.Wait() // it was killed
	}
	_ = os.RemoveAll(b.dir)
}

// natsLibrary is watermill-nats on JetStream: its package nats, which its documentation recommends
// for production, with a durable consumer for the group.
type natsLibrary struct{ ackAsync bool }

func (natsLibrary) openPublisher(r *run) (message.Publisher, error) {
	return wmnats.NewPublisher(wmnats.PublisherConfig{URL: r.addr}, nil)
}

func (l natsLibrary) openSubscriber(r *run, _ settings) (message.Subscriber, error) {
	return wmnats.NewSubscriber(wmnats.SubscriberConfig{
		URL: r.addr, QueueGroupPrefix: group,
		JetStream: wmnats.JetStreamConfig{DurablePrefix: group, AckAsync: l.ackAsync},
	}, nil)
}
