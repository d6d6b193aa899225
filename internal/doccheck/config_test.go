package doccheck_test

import (
	"reflect"
	"regexp"
	"testing"

	"github.com/millrace/redisstream"
	"github.com/stretchr/testify/assert"
)

// The tables of docs/configuration.md have one row for each field.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	manual := pages(t, "docs/configuration.md")[0]
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\|")
	for _, config := range []reflect.Type{
		reflect.TypeFor[redisstream.PublisherConfig](), reflect.TypeFor[redisstream.SubscriberConfig](),
		reflect.TypeFor[redisstream.TxPublisherConfig](), reflect.TypeFor[redisstream.KeyRepositoryConfig](),
	} {
		var fields, rows []string
		for field := range config.Fields() {
			fields = append(fields, field.Name)
		}
		for _, match := range row.FindAllStringSubmatch(manual.section(t, "## "+config.Name()), -1) {
			rows = append(rows, match[1])
		}
		assert.ElementsMatch(t, fields, rows)
	}
}
