package security

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commands returns the names of the commands that the rules allow.
func commands(rules []string) (names []string) {
	for _, rule := range rules {
		if name, ok := strings.CutPrefix(rule, "+"); ok {
			names = append(names, name)
		}
	}
	return names
}

// The users in the README have the rights for everything that the library does.
func TestACL_documentedUsersCanDoAll(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	for name, run := range map[string]func(b *fixture.Bench, publisher, subscriber redis.UniversalClient){
		"publish, nack, ack": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			config := fixture.FastClaimConfig()
			config.Client, config.StartID = subscriber, "$"
			require.NoError(b, b.Subscriber(config).SubscribeInitialize(b.Topic))
			capped := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: publisher, MaxLen: 1000})
			require.NoError(b, capped.Publish(b.Topic, fixture.Numbered("a", 10)...))
			_, messages := b.Subscribe(config)
			fixture.Receive(b, messages).Nack()
			assert.EqualValues(b, 2, fixture.EntryOf(b, fixture.Receive(b, messages)).Deliveries)
		},
		"leases": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			config := fixture.FastClaimConfig()
			config.Client = subscriber
			b.PublishThrough(publisher, 1)
			_, messages := b.Subscribe(config)
			held := fixture.Receive(b, messages)
			_, others := b.Subscribe(config)
			fixture.NothingComes(b, others, 2*config.ClaimMinIdle)
			assert.NoError(b, held.Context().Err())
			held.Ack()
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
		},
		"claim": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			b.PublishThrough(publisher, 3)
			b.ReadAs("dead", 100)
			config := fixture.FastClaimConfig()
			config.Client = subscriber
			_, messages := b.Subscribe(config)
			assert.Equal(b, fixture.Payloads(3), fixture.ReceiveAll(b, messages, 3))
		},
		"dead letters": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			config := fixture.FastClaimConfig()
			config.Client, config.MaxDeliveries = subscriber, 1
			first, messages := b.Subscribe(config)
			require.NoError(b, publisher.XAdd(b.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"foreign", "entry"}}).Err())
			b.PublishThrough(publisher, 1)
			fixture.Receive(b, messages).Nack()
			b.Eventually("dead-lettered", func() bool { return len(b.DeadLetters()) == 2 && b.Pending() == 0 })
			require.NoError(b, first.Close())
			moved, err := redisstream.ReplayDeadLetters(b.Context(), server.ConnectAs(b, "replayer"), b.Topic, 10)
			require.NoError(b, err)
			assert.Equal(b, 2, moved)
			_, messages = b.Subscribe(config)
			assert.Equal(b, fixture.Payloads(1), fixture.ReceiveAll(b, messages, 1))
			assert.Empty(b, server.Denied(b, "replayer"))
		},
		"handover": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			b.PublishThrough(publisher, 100)
			config := fixture.GroupConfig()
			config.Client, config.ClaimMinIdle, config.CloseTimeout = subscriber, time.Hour, -1
			first, messages := b.Subscribe(config)
			fixture.ReceiveAll(b, messages, 50)
			fixture.Receive(b, messages)
			require.NoError(b, first.Close())
			second, messages := b.Subscribe(config)
			assert.Equal(b, "50", fixture.ReceiveAll(b, messages, 50)[0])
			require.NoError(b, second.Close())
			assert.Len(b, b.Consumers(), 1, "a consumer with pending entries is not removed")
		},
		"group gone": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			config := fixture.FastClaimConfig()
			config.Client = subscriber
			_, messages := b.Subscribe(config)
			toStream := fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: publisher})
			require.NoError(b, toStream.Publish(b.Topic, fixture.Numbered("a", 1)...))
			fixture.ReceiveAll(b, messages, 1)
			require.NoError(b, b.Client.XGroupDestroy(b.Context(), b.Topic, "g").Err())
			require.NoError(b, toStream.Publish(b.Topic, fixture.Numbered("b", 1)...))
			for fixture.ReceiveAll(b, messages, 1)[0] != "b-0" { //nolint:revive // a-0 may come again
			}
		},
		"housekeeping": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			b.Do("XGROUP", "CREATE", b.Topic, "g", "0", "MKSTREAM")
			b.Do("XGROUP", "CREATECONSUMER", b.Topic, "g", "host~ABCDEFGHI2")
			b.Do("ACL", "SETUSER", "subscriber"+b.Topic, "+xtrim", "+xlen", "+time")
			config := fixture.FastRemovalConfig()
			config.Client, config.TrimInterval, config.TrimMinAge, config.TrimMinLen = subscriber, time.Millisecond, time.Millisecond, 1
			_, messages := b.Subscribe(config)
			b.PublishThrough(publisher, 1000)
			fixture.ReceiveAll(b, messages, 1000)
			b.Eventually("trimmed", func() bool { return b.Len() < 200 })
			b.Eventually("removed", func() bool { return !slices.Contains(b.Consumers(), "host~ABCDEFGHI2") })
		},
		"fixed name": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			b.PublishThrough(publisher, 1)
			b.ReadAs("me", 100)
			config := fixture.GroupConfig()
			config.Client, config.Consumer = subscriber, "me"
			_, messages := b.Subscribe(config)
			fixture.ReceiveAll(b, messages, 1)
		},
		"at most once": func(b *fixture.Bench, publisher, subscriber redis.UniversalClient) {
			config := fixture.GroupConfig()
			config.Client, config.AutoAck = subscriber, true
			closing, messages := b.Subscribe(config)
			b.PublishThrough(publisher, 1)
			fixture.ReceiveAll(b, messages, 1)
			require.NoError(b, closing.Close())
		},
		"fan-out": func(b *fixture.Bench, publisher, _ redis.UniversalClient) {
			listener := server.ConnectAs(b, "listener")
			_, first := b.Subscribe(redisstream.SubscriberConfig{Client: listener})
			_, second := b.Subscribe(redisstream.SubscriberConfig{Client: listener, StartID: "0"})
			b.PublishThrough(publisher, 2)
			assert.Equal(b, fixture.Payloads(2), fixture.ReceiveAll(b, first, 2))
			assert.Equal(b, fixture.Payloads(2), fixture.ReceiveAll(b, second, 2))
			assert.Empty(b, server.Denied(b, "listener"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			publisher, subscriber := server.ConnectAs(b, "publisher"), server.ConnectAs(b, "subscriber")
			run(b, publisher, subscriber)
			assert.Empty(t, server.Denied(b, "publisher"))
			assert.Empty(t, server.Denied(b, "subscriber"))
		})
	}
}

// use does what a user of the README is for, and returns the first error.
func use(b *fixture.Bench, user, rawURL string) error {
	client, err := redisstream.Connect(b.Context(), rawURL)
	if err != nil {
		return err
	}
	b.Cleanup(func() { require.NoError(b, client.Close()) })
	switch user {
	case "publisher":
		return fixture.OpenPublisher(b.T, redisstream.PublisherConfig{Client: client}).Publish(b.Topic, fixture.Numbered("a", 1)...)
	case "replayer":
		_, err = redisstream.ReplayDeadLetters(b.Context(), client, b.Topic, 1)
	case "subscriber":
		config := fixture.GroupConfig()
		config.Client = client
		_, err = b.Subscriber(config).Subscribe(b.Context(), b.Topic)
	case "listener":
		_, err = b.Subscriber(redisstream.SubscriberConfig{Client: client}).Subscribe(b.Context(), b.Topic)
	}
	return err
}

// The first call reports a missing right. It does not wait until the right is first needed.
func TestACL_missingRightIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	for _, user := range []string{"publisher", "subscriber", "listener", "replayer"} {
		rules := server.Users[user]
		require.NotEmpty(t, rules)
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			require.NoError(t, use(b, user, server.CreateUser(b, user)))
			assert.Empty(t, server.Denied(b, user))
		})
		for _, command := range commands(rules) {
			t.Run(user+" -"+command, func(t *testing.T) {
				t.Parallel()
				b := server.NewBench(t)
				require.ErrorContains(t, use(b, user, server.CreateUser(b, user, "-"+command)), command)
			})
		}
		t.Run(user+" without its keys", func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			require.ErrorContains(t, use(b, user, server.CreateUser(b, user, "resetkeys", "~other")), "NOPERM")
		})
	}
	t.Run("subscriber without dead letters", func(t *testing.T) {
		t.Parallel()
		b := server.NewBench(t)
		err := use(b, "subscriber", server.CreateUser(b, "subscriber", "resetkeys", "~"+b.Topic))
		require.ErrorContains(t, err, `+xadd on "`+redisstream.DeadLetterTopic(b.Topic)+`"`)
		assert.Zero(t, b.Client.Exists(t.Context(), b.Topic).Val(), "Subscribe created no stream")
	})
}

func TestACL_noDangerousCommand(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	b := server.NewBench(t)
	for _, category := range []string{"dangerous", "admin"} {
		members, err := b.Client.Do(t.Context(), "acl", "cat", category).StringSlice()
		require.NoError(t, err)
		require.NotEmpty(t, members)
		for user, rules := range server.Users {
			require.NotEmpty(t, commands(rules), user)
			for _, command := range commands(rules) {
				assert.NotContains(t, members, command, user)
			}
		}
	}
}

// A replay that fails only in its last step would copy the dead letter at each attempt.
func TestACL_replayerThatMayNotDeleteMovesNothing(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	b := server.NewBench(t)
	deadLetter := &redis.XAddArgs{Stream: redisstream.DeadLetterTopic(b.Topic), Values: []string{"data", "letter"}}
	require.NoError(t, b.Client.XAdd(t.Context(), deadLetter).Err())
	require.ErrorContains(t, use(b, "replayer", server.CreateUser(b, "replayer", "-xdel")), "+xdel")
	assert.Zero(t, b.Client.XLen(t.Context(), b.Topic).Val())
	assert.Len(t, b.DeadLetters(), 1)
}

// A subscriber uses each of its rights: without one of them, the server denies a command while it
// works.
func TestACL_eachRightOfASubscriberIsUsed(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	for _, command := range commands(server.Users["subscriber"]) {
		if command == "ping" { // only Connect
			continue
		}
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			b := server.NewBench(t)
			config := fixture.FastClaimConfig()
			config.Client = server.ConnectAs(b, "subscriber")
			config.BlockTime, config.ConsumerTimeout = 20*time.Millisecond, 100*time.Millisecond
			config.NackBackoff = func(int) time.Duration { return 0 }
			subscriber, messages := b.Subscribe(config)
			b.Publish(1)
			fixture.ReceiveAll(t, messages, 1)
			b.Eventually("acknowledged", func() bool { return b.Pending() == 0 })
			go nackOnce(messages)
			provoke := map[string]func(){
				"xgroup|create":         func() { b.Client.XGroupDestroy(b.Context(), b.Topic, "g") },
				"xinfo|stream":          func() { b.Client.XGroupDestroy(b.Context(), b.Topic, "g") },
				"xgroup|createconsumer": func() { b.Client.XGroupDestroy(b.Context(), b.Topic, "g") },
				"xgroup|setid": func() { // another process creates the group first
					_, _ = b.Client.Pipelined(b.Context(), func(pipe redis.Pipeliner) error {
						pipe.XGroupDestroy(b.Context(), b.Topic, "g")
						return pipe.XGroupCreate(b.Context(), b.Topic, "g", "0").Err()
					})
				},
				"xgroup|delconsumer": func() { require.NoError(b, subscriber.Close()) },
				"eval":               func() { b.Client.ScriptFlush(b.Context()) },
			}[command]
			require.NoError(t, b.Client.ACLSetUser(t.Context(), "subscriber"+b.Topic, "-"+command).Err())
			deadline := time.Now().Add(fixture.Soon)
			for !slices.Contains(server.Denied(b, "subscriber"), command) {
				require.True(t, time.Now().Before(deadline), "the right was not used")
				if provoke != nil {
					provoke()
				}
				b.Publish(1)
				require.NoError(t, b.Client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.Topic, Values: []string{"foreign", "entry"}}).Err())
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// The README lists the additional rights that options of a client need.
func TestACL_rightsForOptions(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	cluster := &fixture.ACLServer{Server: redistest.StartCluster(t), Users: server.Users}
	for name, test := range map[string]struct {
		server *fixture.ACLServer
		query  string
		rights []string
	}{
		"cluster":  {cluster, "?cluster=true", []string{"+cluster|slots", "+command"}},
		"database": {server, "?db=1", []string{"+select"}},
		"name":     {server, "?client_name=shop", []string{"+client|setname"}},
	} {
		for user := range server.Users {
			t.Run(name+" "+user, func(t *testing.T) {
				t.Parallel()
				b := test.server.NewBench(t)
				require.NoError(t, use(b, user, test.server.CreateUser(b, user, test.rights...)+test.query))
				assert.Empty(t, test.server.Denied(b, user))
			})
		}
		for _, right := range test.rights {
			t.Run(name+" without "+right, func(t *testing.T) {
				t.Parallel()
				b := test.server.NewBench(t)
				rights := slices.DeleteFunc(slices.Clone(test.rights), func(r string) bool { return r == right })
				_ = use(b, "subscriber", test.server.CreateUser(b, "subscriber", rights...)+test.query) // without +command go-redis only logs an error
				assert.Contains(t, test.server.Denied(b, "subscriber"), right[1:])
			})
		}
	}
}

// nackOnce nacks first deliveries and acks redelivered messages.
func nackOnce(messages <-chan *message.Message) {
	for msg := range messages {
		if entry, _ := redisstream.EntryFromContext(msg.Context()); entry.Deliveries == 1 {
			msg.Nack()
		} else {
			msg.Ack()
		}
	}
}

// The README lists the rights to list and drop dead letters. An error names the missing right.
func TestACL_dropper(t *testing.T) {
	t.Parallel()
	server := fixture.NewACLServer(t)
	rights := []string{"+ping", "+eval", "+evalsha", "+xrange", "+xrevrange", "+xdel"}
	require.Contains(t, strings.Join(strings.Fields(fixture.README(t)), " "),
		"`"+strings.Join(rights, " ")+"` on `{orders}:dead-letter` and `%R~orders +get`")
	drop := func(t *testing.T, denied ...string) (*fixture.Bench, int, error) {
		t.Helper()
		b := server.NewBench(t)
		b.AddDeadLetter(b.Topic, "1")
		rules := append([]string{"reset", "on", ">secret", "~" + redisstream.DeadLetterTopic(b.Topic), "%R~" + b.Topic, "+get"}, rights...)
		require.NoError(t, b.Client.ACLSetUser(t.Context(), "dropper"+b.Topic, append(rules, denied...)...).Err())
		client := fixture.ConnectURL(b, "redis://dropper"+b.Topic+":secret@"+server.Addr)
		for _, err := range redisstream.DeadLetters(t.Context(), client, b.Topic) {
			if err != nil {
				return b, 0, err
			}
		}
		n, err := redisstream.DropDeadLettersFunc(t.Context(), client, b.Topic, func(redisstream.DeadLetter) bool { return true })
		return b, n, err
	}
	b, dropped, err := drop(t)
	require.NoError(t, err)
	assert.Equal(t, 1, dropped)
	assert.Empty(t, server.Denied(b, "dropper"))
	for _, right := range append(rights[1:], "+get") {
		b, _, err := drop(t, "-"+right[1:])
		require.ErrorContains(t, err, right[1:])
		assert.Len(t, b.DeadLetters(), 1)
	}
}
