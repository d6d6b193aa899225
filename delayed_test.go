package redisstream

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDelayOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 700_000_000, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) } // without the fraction
	for name, test := range map[string]struct {
		until, after string
		want         time.Duration
	}{
		"none":                       {"", "", 0},
		"fresh":                      {at(10 * time.Second), "10s", 10 * time.Second},
		"fresh, a fraction":          {at(1500 * time.Millisecond), "1.5s", 1500 * time.Millisecond},
		"the duration is stale":      {at(3 * time.Second), "10s", 3300 * time.Millisecond},
		"the duration is too short":  {at(10 * time.Second), "1s", 9300 * time.Millisecond},
		"over":                       {at(-time.Hour), "10s", -time.Hour + 300*time.Millisecond},
		"no duration":                {at(10 * time.Second), "", 9300 * time.Millisecond},
		"no time":                    {"", "10s", 10 * time.Second},
		"zero":                       {time.Time{}.Format(time.RFC3339), "0s", time.Time{}.Sub(now) + time.Second},
		"another zone":               {now.Add(2 * time.Second).In(time.FixedZone("", 3600)).Format(time.RFC3339), "2s", 2 * time.Second},
		"until, as delay.Until does": {at(time.Minute), time.Minute.String(), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metadata := message.Metadata{delay.DelayedUntilKey: test.until, delay.DelayedForKey: test.after}
			got, err := delayOf(metadata, now)
			require.NoError(t, err)
			if test.want < -24*time.Hour {
				assert.Negative(t, got)
			} else {
				assert.Equal(t, test.want, got)
			}
		})
	}
	for _, key := range []string{delay.DelayedUntilKey, delay.DelayedForKey} {
		_, err := delayOf(message.Metadata{key: "soon"}, now)
		assert.ErrorContains(t, err, key)
	}
}

func TestDelayedKey(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]string{
		"orders":   "{orders}:delayed",
		"{shop}:a": "{shop}:a:delayed",
		"a}b":      "a}b:delayed",
		"{}a":      "{}a:delayed",
	} {
		assert.Equal(t, want, DelayedKey(topic))
	}
}
