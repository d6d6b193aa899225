package where

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func letter() DeadLetter {
	return DeadLetter{
		Message: Message{
			ID: "5-0", UUID: "u1", Payload: `{"customer": 9007199254740993, "items": [{"name": "tea"}]}`,
			JSON:     ParseJSON([]byte(`{"customer": 9007199254740993, "items": [{"name": "tea", "price": 2.5}]}`)),
			Metadata: map[string]string{"type": "created"}, Age: 2 * time.Hour, Bytes: 100,
		},
		Reason: "delivery limit", Error: "no such product", Group: "kitchen", Deliveries: 5,
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for expression, expected := range map[string]bool{
		"":                                  true,
		`json.customer == 9007199254740993`: true,
		`json.customer == 9007199254740992`: false,
		`json.missing == nil`:               true,
		`json.missing?.deeper == 7`:         false,
		`any(json.items, .name == "tea")`:   true,
		`json.items[0].price > 2`:           true,
		`metadata.type == "created" and metadata.none == ""`: true,
		`age > duration("1h") && deliveries >= 5`:            true,
		`reason contains "limit" or error matches "^x"`:      true,
		`group in ["audit", "kitchen"] and uuid == "u1"`:     true,
		`payload startsWith "{" and bytes < 1000`:            true,
	} {
		filter, err := Compile[DeadLetter](expression)
		require.NoError(t, err, expression)
		matches, err := filter.Match(letter())
		require.NoError(t, err, expression)
		assert.Equal(t, expected, matches, expression)
	}
}

func TestCompile_showsThePlace(t *testing.T) {
	t.Parallel()
	for expression, expected := range map[string]string{
		`reason == "a" and wrong == 1`:      `unknown name wrong at character 19: reason == "a" and >>>wrong == 1`,
		`reason ==`:                         "at character",
		`reason + "a"`:                      "expected bool, but got string",
		`due > now()`:                       "unknown name due at character 1",
		strings.Repeat("a", 5000):           "longer than 4096",
		strings.Repeat("1+", 600) + "1 > 2": "exceeds maximum allowed nodes",
	} {
		_, err := Compile[DeadLetter](expression)
		require.ErrorContains(t, err, expected)
		assert.NotContains(t, err.Error(), "\n")
	}
}

func TestMatch_errorShowsThePlace(t *testing.T) {
	t.Parallel()
	filter, err := Compile[DeadLetter](`json.missing.deeper == 7`)
	require.NoError(t, err)
	_, err = filter.Match(letter())
	require.ErrorContains(t, err, "cannot fetch deeper from <nil> at character 14: json.missing.>>>deeper == 7")
}

func TestMatch_isBounded(t *testing.T) {
	t.Parallel()
	env := letter()
	many := make([]any, 1200) // some 10^9 steps are many seconds
	for i := range many {
		many[i] = i
	}
	env.JSON = map[string]any{"a": many}
	filter, err := Compile[DeadLetter](`all(json.a, let x = #; all(json.a, let y = #; x + y >= 0))`)
	require.NoError(t, err)
	filter.maxTime = time.Millisecond
	_, err = filter.Match(env)
	require.ErrorIs(t, err, errSlow)

	filter, err = Compile[DeadLetter](`len(map(1..2000000, # * 2)) > 0`)
	require.NoError(t, err)
	_, err = filter.Match(env)
	require.ErrorContains(t, err, "memory budget exceeded")
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	none := map[string]any{}
	for _, payload := range []string{"", "text", `{"a":1} x`, "null", "{", `"` + strings.Repeat("x", maxJSON) + `"`} {
		assert.Equal(t, none, ParseJSON([]byte(payload)), "%.20s", payload)
	}
	assert.Equal(t, map[string]any{"a": 1, "b": 1.5, "c": []any{true, nil, 1e99}}, ParseJSON([]byte(` {"a":1,"b":1.5,"c":[true,null,1e99]} `)))
}
