package redisstreamtest

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Timeout is how long helpers wait before they fail the test.
const Timeout = 10 * time.Second

// Receive returns the next message, and neither acks nor nacks it. The test fails if none comes
// within Timeout, or if the channel is closed.
func Receive(t testing.TB, messages <-chan *message.Message) *message.Message {
	t.Helper()
	timeout := time.NewTimer(Timeout)
	defer timeout.Stop()
	select {
	case msg, open := <-messages:
		if !open {
			t.Fatalf("redisstreamtest: the channel is closed, no message can come")
		}
		return msg
	case <-timeout.C:
		t.Fatalf("redisstreamtest: no message within %s", Timeout)
	}
	return nil
}

// ReceiveAndAck receives n messages like Receive and returns them. It acks each one before it
// receives the next.
func ReceiveAndAck(t testing.TB, messages <-chan *message.Message, n int) []*message.Message {
	t.Helper()
	received := make([]*message.Message, 0, n)
	for range n {
		msg := Receive(t, messages)
		msg.Ack()
		received = append(received, msg)
	}
	return received
}

// ReceiveNone fails the test if a message comes within this time.
func ReceiveNone(t testing.TB, messages <-chan *message.Message, within time.Duration) {
	t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case msg, open := <-messages:
		if open {
			t.Fatalf("redisstreamtest: unexpected message %s: %q", msg.UUID, msg.Payload)
		}
	case <-timeout.C:
	}
}
