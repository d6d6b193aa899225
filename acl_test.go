package redisstream_test

import (
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documentedUsers returns the rules of each user in the README, by its name.
func documentedUsers(t *testing.T) map[string][]string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	users := map[string][]string{}
	for line := range strings.Lines(string(readme)) {
		if words := strings.Fields(line); len(words) > 3 && words[0] == "ACL" && words[1] == "SETUSER" {
			users[words[2]] = words[3:]
		}
	}
	return users
}

// commands returns what the rules allow by name.
func commands(rules []string) (names []string) {
	for _, rule := range rules {
		if name, ok := strings.CutPrefix(rule, "+"); ok {
			names = append(names, name)
		}
	}
	return names
}

// aclServer is a server that lets nobody in without a password.
type aclServer struct {
	*redistest.Server
	password string
	users    map[string][]string
}

func newACLServer(t *testing.T) *aclServer {
	t.Helper()
	s := &aclServer{password: rand.Text(), users: documentedUsers(t)}
	s.Server = redistest.Start(t, "--requirepass", s.password, "--acllog-max-len", "100000")
	return s
}

// newBench returns a bench whose client may do everything.
func (s *aclServer) newBench(t *testing.T) *bench {
	t.Helper()
	b := newBenchOn(t, s.Server)
	b.client = s.Client(t, func(o *redis.Options) { o.Password, o.ClientName = s.password, b.topic })
	return b
}

// create makes a user of the README on the bench's stream, with changed rules, and returns its URL.
func (s *aclServer) create(b *bench, user string, change ...string) (rawURL string) {
	b.Helper()
	password := rand.Text()
	rules := slices.Clone(s.users[user])
	require.Contains(b, rules, ">secret")
	for i, rule := range rules {
		rules[i] = strings.ReplaceAll(strings.ReplaceAll(rule, ">secret", ">"+password), "orders", b.topic)
	}
	require.NoError(b, b.client.ACLSetUser(b.Context(), user+b.topic, append(rules, change...)...).Err())
	return "redis://" + user + b.topic + ":" + password + "@" + s.Addr
}

// as returns a client of a user of the README.
func (s *aclServer) as(b *bench, user string) redis.UniversalClient {
	b.Helper()
	client, err := redisstream.Connect(b.Context(), s.create(b, user))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, client.Close()) })
	return client
}

// denied returns what the server denied to the user of the bench's stream.
func (s *aclServer) denied(b *bench, user string) (objects []string) {
	b.Helper()
	entries, err := b.client.ACLLog(b.Context(), -1).Result()
	require.NoError(b, err)
	for _, entry := range entries {
		if entry.Username == user+b.topic && entry.Object != "client|setinfo" {
			objects = append(objects, entry.Object)
		}
	}
	return objects
}

// Everything that the library does, done by the users that the README lists.
func TestACL_documentedUsersCanDoAll(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	for name, run := range map[string]func(b *bench, publisher, subscriber redis.UniversalClient){
		"publish, nack, ack": func(b *bench, publisher, subscriber redis.UniversalClient) {
			config := fastClaims()
			config.Client, config.StartID = subscriber, "$"
			require.NoError(b, b.subscriber(config).SubscribeInitialize(b.topic))
			capped := openPublisher(b.T, redisstream.PublisherConfig{Client: publisher, MaxLen: 1000})
			require.NoError(b, capped.Publish(b.topic, numbered("a", 10)...))
			_, messages := b.subscribe(config)
			receive(b, messages).Nack()
			assert.EqualValues(b, 2, entryOf(b, receive(b, messages)).Deliveries)
		},
		"leases": func(b *bench, publisher, subscriber redis.UniversalClient) {
			config := fastClaims()
			config.Client = subscriber
			b.publishThrough(publisher, 1)
			_, messages := b.subscribe(config)
			held := receive(b, messages)
			_, others := b.subscribe(config)
			nothingComes(b, others, 2*config.ClaimMinIdle)
			assert.NoError(b, held.Context().Err())
			held.Ack()
			b.eventually("acknowledged", func() bool { return b.pending() == 0 })
		},
		"claim": func(b *bench, publisher, subscriber redis.UniversalClient) {
			b.publishThrough(publisher, 3)
			b.handOut("dead", 100)
			config := fastClaims()
			config.Client = subscriber
			_, messages := b.subscribe(config)
			assert.Equal(b, upTo(3), receiveAll(b, messages, 3))
		},
		"dead letters": func(b *bench, publisher, subscriber redis.UniversalClient) {
			config := fastClaims()
			config.Client, config.MaxDeliveries = subscriber, 1
			first, messages := b.subscribe(config)
			require.NoError(b, publisher.XAdd(b.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"foreign", "entry"}}).Err())
			b.publishThrough(publisher, 1)
			receive(b, messages).Nack()
			b.eventually("dead-lettered", func() bool { return len(b.letters()) == 2 && b.pending() == 0 })
			require.NoError(b, first.Close())
			moved, err := redisstream.ReplayDeadLetters(b.Context(), server.as(b, "replayer"), b.topic, 10)
			require.NoError(b, err)
			assert.Equal(b, 2, moved)
			_, messages = b.subscribe(config)
			assert.Equal(b, upTo(1), receiveAll(b, messages, 1))
			assert.Empty(b, server.denied(b, "replayer"))
		},
		"handover": func(b *bench, publisher, subscriber redis.UniversalClient) {
			b.publishThrough(publisher, 100)
			config := inGroupG()
			config.Client, config.ClaimMinIdle, config.CloseTimeout = subscriber, time.Hour, -1
			first, messages := b.subscribe(config)
			receiveAll(b, messages, 50)
			receive(b, messages)
			require.NoError(b, first.Close())
			second, messages := b.subscribe(config)
			assert.Equal(b, "50", receiveAll(b, messages, 50)[0])
			require.NoError(b, second.Close())
			assert.Len(b, b.consumers(), 1, "the one that owned something when it left")
		},
		"group gone": func(b *bench, publisher, subscriber redis.UniversalClient) {
			config := fastClaims()
			config.Client = subscriber
			_, messages := b.subscribe(config)
			toStream := openPublisher(b.T, redisstream.PublisherConfig{Client: publisher})
			require.NoError(b, toStream.Publish(b.topic, numbered("a", 1)...))
			receiveAll(b, messages, 1)
			require.NoError(b, b.client.XGroupDestroy(b.Context(), b.topic, "g").Err())
			require.NoError(b, toStream.Publish(b.topic, numbered("b", 1)...))
			for receiveAll(b, messages, 1)[0] != "b-0" { //nolint:revive // a-0 may come again
			}
		},
		"housekeeping": func(b *bench, publisher, subscriber redis.UniversalClient) {
			b.do("XGROUP", "CREATE", b.topic, "g", "0", "MKSTREAM")
			b.do("XGROUP", "CREATECONSUMER", b.topic, "g", "host~ABCDEFGHI2")
			b.do("ACL", "SETUSER", "subscriber"+b.topic, "+xtrim", "+xlen", "+time")
			config := quickRemoval()
			config.Client, config.TrimInterval, config.TrimMinAge, config.TrimMinLen = subscriber, time.Millisecond, time.Millisecond, 1
			_, messages := b.subscribe(config)
			b.publishThrough(publisher, 1000)
			receiveAll(b, messages, 1000)
			b.eventually("trimmed", func() bool { return b.length() < 200 })
			b.eventually("removed", func() bool { return !slices.Contains(b.consumers(), "host~ABCDEFGHI2") })
		},
		"fixed name": func(b *bench, publisher, subscriber redis.UniversalClient) {
			b.publishThrough(publisher, 1)
			b.handOut("me", 100)
			config := inGroupG()
			config.Client, config.Consumer = subscriber, "me"
			_, messages := b.subscribe(config)
			receiveAll(b, messages, 1)
		},
		"at most once": func(b *bench, publisher, subscriber redis.UniversalClient) {
			config := inGroupG()
			config.Client, config.AutoAck = subscriber, true
			closing, messages := b.subscribe(config)
			b.publishThrough(publisher, 1)
			receiveAll(b, messages, 1)
			require.NoError(b, closing.Close())
		},
		"fan-out": func(b *bench, publisher, _ redis.UniversalClient) {
			listener := server.as(b, "listener")
			_, first := b.subscribe(redisstream.SubscriberConfig{Client: listener})
			_, second := b.subscribe(redisstream.SubscriberConfig{Client: listener, StartID: "0"})
			b.publishThrough(publisher, 2)
			assert.Equal(b, upTo(2), receiveAll(b, first, 2))
			assert.Equal(b, upTo(2), receiveAll(b, second, 2))
			assert.Empty(b, server.denied(b, "listener"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := server.newBench(t)
			publisher, subscriber := server.as(b, "publisher"), server.as(b, "subscriber")
			run(b, publisher, subscriber)
			assert.Empty(t, server.denied(b, "publisher"))
			assert.Empty(t, server.denied(b, "subscriber"))
		})
	}
}

// use does what a user of the README is for, up to the moment when everything works.
func use(b *bench, user, rawURL string) error {
	client, err := redisstream.Connect(b.Context(), rawURL)
	if err != nil {
		return err
	}
	b.Cleanup(func() { require.NoError(b, client.Close()) })
	switch user {
	case "publisher":
		return openPublisher(b.T, redisstream.PublisherConfig{Client: client}).Publish(b.topic, numbered("a", 1)...)
	case "replayer":
		_, err = redisstream.ReplayDeadLetters(b.Context(), client, b.topic, 1)
	case "subscriber":
		config := inGroupG()
		config.Client = client
		_, err = b.subscriber(config).Subscribe(b.Context(), b.topic)
	case "listener":
		_, err = b.subscriber(redisstream.SubscriberConfig{Client: client}).Subscribe(b.Context(), b.topic)
	}
	return err
}

// A right that is missing is named by the first call, not by a log when it is first used.
func TestACL_missingRightIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	require.Len(t, server.users, 4)
	for user, rules := range server.users {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			b := server.newBench(t)
			require.NoError(t, use(b, user, server.create(b, user)))
			assert.Empty(t, server.denied(b, user))
			for _, category := range []string{"dangerous", "admin"} {
				members, err := b.client.Do(t.Context(), "acl", "cat", category).StringSlice()
				require.NoError(t, err)
				require.NotEmpty(t, members)
				for _, command := range commands(rules) {
					assert.NotContains(t, members, command)
				}
			}
		})
		for _, command := range commands(rules) {
			t.Run(user+" -"+command, func(t *testing.T) {
				t.Parallel()
				b := server.newBench(t)
				require.ErrorContains(t, use(b, user, server.create(b, user, "-"+command)), command)
			})
		}
		t.Run(user+" without its keys", func(t *testing.T) {
			t.Parallel()
			b := server.newBench(t)
			require.ErrorContains(t, use(b, user, server.create(b, user, "resetkeys", "~other")), "NOPERM")
		})
	}
	t.Run("subscriber without dead letters", func(t *testing.T) {
		t.Parallel()
		b := server.newBench(t)
		err := use(b, "subscriber", server.create(b, "subscriber", "resetkeys", "~"+b.topic))
		require.ErrorContains(t, err, `+xadd on "`+redisstream.DeadLetterTopic(b.topic)+`"`)
		assert.Zero(t, b.client.Exists(t.Context(), b.topic).Val(), "nothing is left behind")
	})
}

// Refused only in its last step, each replay would copy the letter once more.
func TestACL_replayerThatMayNotDeleteMovesNothing(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	b := server.newBench(t)
	letter := &redis.XAddArgs{Stream: redisstream.DeadLetterTopic(b.topic), Values: []string{"data", "letter"}}
	require.NoError(t, b.client.XAdd(t.Context(), letter).Err())
	require.ErrorContains(t, use(b, "replayer", server.create(b, "replayer", "-xdel")), "+xdel")
	assert.Zero(t, b.client.XLen(t.Context(), b.topic).Val())
	assert.Len(t, b.letters(), 1)
}

// Each right of a subscriber is used: taken from it while it works, the server denies it.
func TestACL_eachRightOfASubscriberIsUsed(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	for _, command := range commands(server.users["subscriber"]) {
		if command == "ping" { // only Connect
			continue
		}
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			b := server.newBench(t)
			config := fastClaims()
			config.Client = server.as(b, "subscriber")
			config.BlockTime, config.ConsumerTimeout = 20*time.Millisecond, 100*time.Millisecond
			config.NackBackoff = func(int) time.Duration { return 0 }
			subscriber, messages := b.subscribe(config)
			b.publish(1)
			receiveAll(t, messages, 1)
			b.eventually("acknowledged", func() bool { return b.pending() == 0 })
			go nackOnce(messages)
			provoke := map[string]func(){
				"xgroup|create":         func() { b.client.XGroupDestroy(b.Context(), b.topic, "g") },
				"xinfo|stream":          func() { b.client.XGroupDestroy(b.Context(), b.topic, "g") },
				"xgroup|createconsumer": func() { b.client.XGroupDestroy(b.Context(), b.topic, "g") },
				"xgroup|setid": func() { // a newcomer is faster
					_, _ = b.client.Pipelined(b.Context(), func(pipe redis.Pipeliner) error {
						pipe.XGroupDestroy(b.Context(), b.topic, "g")
						return pipe.XGroupCreate(b.Context(), b.topic, "g", "0").Err()
					})
				},
				"xgroup|delconsumer": func() { require.NoError(b, subscriber.Close()) },
				"eval":               func() { b.client.ScriptFlush(b.Context()) },
			}[command]
			require.NoError(t, b.client.ACLSetUser(t.Context(), "subscriber"+b.topic, "-"+command).Err())
			deadline := time.Now().Add(soon)
			for !slices.Contains(server.denied(b, "subscriber"), command) {
				require.True(t, time.Now().Before(deadline), "never used")
				if provoke != nil {
					provoke()
				}
				b.publish(1)
				require.NoError(t, b.client.XAdd(t.Context(), &redis.XAddArgs{Stream: b.topic, Values: []string{"foreign", "entry"}}).Err())
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// What the README says that options of a client need beyond that.
func TestACL_rightsForOptions(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	cluster := &aclServer{Server: redistest.StartCluster(t), users: server.users}
	for name, test := range map[string]struct {
		server *aclServer
		query  string
		rights []string
	}{
		"cluster":  {cluster, "?cluster=true", []string{"+cluster|slots", "+command"}},
		"database": {server, "?db=1", []string{"+select"}},
		"name":     {server, "?client_name=shop", []string{"+client|setname"}},
	} {
		for user := range server.users {
			t.Run(name+" "+user, func(t *testing.T) {
				t.Parallel()
				b := test.server.newBench(t)
				require.NoError(t, use(b, user, test.server.create(b, user, test.rights...)+test.query))
				assert.Empty(t, test.server.denied(b, user))
			})
		}
		for _, right := range test.rights {
			t.Run(name+" without "+right, func(t *testing.T) {
				t.Parallel()
				b := test.server.newBench(t)
				rights := slices.DeleteFunc(slices.Clone(test.rights), func(r string) bool { return r == right })
				_ = use(b, "subscriber", test.server.create(b, "subscriber", rights...)+test.query) // without +command go-redis only logs
				assert.Contains(t, test.server.denied(b, "subscriber"), right[1:])
			})
		}
	}
}

// nackOnce nacks what comes for the first time and acks what comes again.
func nackOnce(messages <-chan *message.Message) {
	for msg := range messages {
		if entry, _ := redisstream.EntryFromContext(msg.Context()); entry.Deliveries == 1 {
			msg.Nack()
		} else {
			msg.Ack()
		}
	}
}
