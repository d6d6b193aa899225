package redisstreamtest_test

import (
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream/redisstreamtest"
)

// brew is the code under test: it handles an order and publishes the result to the topic served.
func brew(msg *message.Message, publisher message.Publisher, served string) error {
	cup := message.NewMessage(watermill.NewUUID(), append([]byte("a cup of "), msg.Payload...))
	return publisher.Publish(served, cup)
}

func Example() {
	t, end := exampleTest() // in a test: func TestBrew(t *testing.T)
	defer end()

	server := redisstreamtest.New(t)
	pubSub, orders, served := server.PubSub("kitchen"), server.Topic(), server.Topic()
	if err := pubSub.Publish(orders, message.NewMessage(watermill.NewUUID(), []byte("coffee"))); err != nil {
		t.Fatal(err)
	}
	messages, err := pubSub.Subscribe(t.Context(), orders)
	if err != nil {
		t.Fatal(err)
	}
	cups, err := server.Subscriber("guest").Subscribe(t.Context(), served)
	if err != nil {
		t.Fatal(err)
	}

	msg := redisstreamtest.Receive(t, messages)
	if err := brew(msg, pubSub, served); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	server.WaitAcked(orders, "kitchen")
	for _, cup := range redisstreamtest.ReceiveAndAck(t, cups, 1) {
		fmt.Printf("%s\n", cup.Payload)
	}
	// Output: a cup of coffee
}

// exampleTest replaces the *testing.T of a test. An example has none.
func exampleTest() (t testing.TB, end func()) {
	test := &outsideTest{}
	return test, test.end
}
