package repairing

import (
	"testing"

	"github.com/millrace/redisstream"
	"github.com/millrace/redisstream/admin"
	"github.com/millrace/redisstream/internal/fixture"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An outcome has only the dead letters that this call moved, also if others move some at the same
// time.
func TestDeadLetters_takenByOthers(t *testing.T) {
	t.Parallel()
	b := fixture.New(t)
	a, err := admin.New(admin.Config{Client: b.Client, Unmarshaler: redisstream.PlainMarshaler{}})
	require.NoError(t, err)
	for name, act := range map[string]func(choose func(admin.DeadLetter) bool) (admin.Outcome, error){
		"replay": func(choose func(admin.DeadLetter) bool) (admin.Outcome, error) {
			return a.ReplayDeadLetters(t.Context(), b.Topic, choose, false)
		},
		"drop": func(choose func(admin.DeadLetter) bool) (admin.Outcome, error) {
			return a.DropDeadLetters(t.Context(), b.Topic, choose, false)
		},
		"retry": func(choose func(admin.DeadLetter) bool) (admin.Outcome, error) {
			return a.RetryDeadLetters(t.Context(), b.Topic, choose, false)
		},
	} {
		ids := []string{b.AddDeadLetter(b.Topic, "0"), b.AddDeadLetter(b.Topic, "1"), b.AddDeadLetter(b.Topic, "2"), b.AddDeadLetter(b.Topic, "3")}
		outcome, err := act(func(l admin.DeadLetter) bool {
			if string(l.Message.Payload) == "1" {
				n, err := redisstream.DropDeadLettersByID(t.Context(), b.Client, b.Topic, l.ID)
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
			return string(l.Message.Payload) != "3"
		})
		require.NoError(t, err, name)
		assert.Equal(t, []string{ids[0], ids[2]}, outcome.IDs, name)
		require.Len(t, b.DeadLetters(), 1, name)
		b.Do("DEL", redisstream.DeadLetterTopic(b.Topic))
	}
}
