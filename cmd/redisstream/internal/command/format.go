package command

import "github.com/millrace/redisstream"

// format is how messages are stored in entries.
type format interface {
	redisstream.Marshaler
	redisstream.Unmarshaler
}

var formats = []string{"msgpack", "json", "plain"}

func formatOf(name string) (format, error) {
	switch name {
	case "msgpack":
		return redisstream.MsgpackMarshaler{}, nil
	case "json":
		return redisstream.JSONMarshaler{}, nil
	case "plain":
		return redisstream.PlainMarshaler{}, nil
	default:
		return nil, usage("--format %s: it is msgpack, json or plain", name)
	}
}
