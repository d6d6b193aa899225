package security

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// operate does each action of package admin, also after one that fails, and returns all errors.
func operate(b *fixture.Bench, a *admin.Admin) error {
	b.Helper()
	var errs []error
	try := func(err error) { errs = append(errs, err) }
	ctx, topic := b.Context(), b.Topic

	b.Publish(6)
	entries := b.ReadAs("dead", 5)
	letters := make(map[string]string)
	for _, of := range []string{"replayed", "dropped", "retried", "retried and kept"} {
		letters[of] = b.AddDeadLetter(topic, of)
	}
	letter := func(of string) func(admin.DeadLetter) bool {
		return func(l admin.DeadLetter) bool { return l.ID == letters[of] }
	}
	publisher := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: b.Client})
	for _, uuid := range []string{"dropped", "delivered"} {
		msg := message.NewMessage(uuid, nil)
		delay.Message(msg, delay.For(time.Hour))
		require.NoError(b, publisher.Publish(topic, msg))
	}
	delayed := func(uuid string) func(admin.Delayed) bool {
		return func(d admin.Delayed) bool { return d.Message.UUID == uuid }
	}

	_, err := a.Skip(ctx, topic, "g", []string{entries[0].ID}, admin.Skip{})
	try(err)
	_, err = a.Skip(ctx, topic, "g", []string{entries[1].ID}, admin.Skip{DeadLetter: true})
	try(err)
	_, err = a.ReplayDeadLetters(ctx, topic, letter("replayed"), false)
	try(err)
	_, err = a.DropDeadLetters(ctx, topic, letter("dropped"), false)
	try(err)
	for _, how := range []admin.Skip{{}, {DeadLetter: true}} {
		of := map[bool]string{false: "retried", true: "retried and kept"}[how.DeadLetter]
		_, err = a.RetryDeadLetters(ctx, topic, letter(of), false)
		try(err)
		for parked, err := range a.Parked(ctx, topic, "g") {
			try(err)
			_, err = a.Skip(ctx, topic, "g", []string{parked.Message.ID}, how)
			try(err)
		}
	}
	_, err = a.DropDelayed(ctx, topic, delayed("dropped"), false)
	try(err)
	_, err = a.DeliverDelayed(ctx, topic, delayed("delivered"), false)
	try(err)
	try(a.Pause(ctx, topic, "g", "ann", "no milk"))
	try(a.Resume(ctx, topic, "g"))
	b.Do("HSET", redisstream.MembersKey(topic, "g"), "dead", `1000 {"every":1000000000}`)
	_, err = a.DropConsumer(ctx, topic, "g", "dead", false)
	try(err)
	_, err = a.Reset(ctx, topic, "g", admin.ResetTo{ID: entries[3].ID})
	try(err)
	b.Do("XGROUP", "CREATE", topic, "abandoned", "0")
	_, err = a.DeleteGroup(ctx, topic, "abandoned", false)
	try(err)
	return errors.Join(errs...)
}

// The operator does each action of package admin, and needs each of its rights for them.
func TestACL_operator(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	reading := commands(server.Users["inspector"])
	acting := slices.DeleteFunc(commands(server.Users["operator"]), func(c string) bool { return slices.Contains(reading, c) })
	require.Len(t, commands(server.Users["operator"]), len(reading)+len(acting), "it may read what the inspector may")
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		a, err := admin.New(admin.Config{Client: server.ConnectAs(b, "operator")})
		require.NoError(t, err)
		require.NoError(t, operate(b, a))
		assert.Empty(t, server.Denied(b, "operator"))
		assert.Len(t, b.DeadLetters(), 2)
		groups, err := a.Groups(t.Context(), b.Topic)
		require.NoError(t, err)
		assert.Len(t, groups, 1)
	})
	for _, command := range acting {
		t.Run("without "+command, func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			client := fixture.ConnectURL(b, server.CreateUser(b, "operator", "-"+command))
			a, err := admin.New(admin.Config{Client: client})
			require.NoError(t, err)
			err = operate(b, a)
			require.Error(t, err)
			if !slices.Contains(server.Denied(b, "operator"), command) { // some rights are checked before they are used
				assert.ErrorContains(t, err, "+"+command)
			}
		})
	}
	t.Run("another topic", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		b.Do("XADD", "another", "*", "a", "b")
		client := server.ConnectAs(b, "operator")
		require.ErrorContains(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: "another", Values: []string{"a", "b"}}).Err(), "NOPERM")
	})
}
