package where

import (
	"bytes"
	"encoding/json"
	"io"
)

// maxJSON is the longest payload that is decoded. Decoding of larger ones takes too long.
const maxJSON = 1 << 20

// ParseJSON returns a payload for Message.JSON: an empty map if it is no JSON or longer than 1 MiB.
// Whole numbers are int, so that long ones keep their digits.
func ParseJSON(payload []byte) any {
	none := map[string]any{}
	if len(payload) > maxJSON {
		return none
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil || v == nil {
		return none
	}
	if _, err := decoder.Token(); err != io.EOF {
		return none
	}
	return numbered(v)
}

func numbered(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case map[string]any:
		for key, value := range v {
			v[key] = numbered(value)
		}
	case []any:
		for i, value := range v {
			v[i] = numbered(value)
		}
	}
	return v
}
