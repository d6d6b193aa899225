package adminui

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/millrace/redisstream/admin"
)

// The defaults of Config.
const (
	DefaultTitle          = "redisstream"
	DefaultTimeout        = 10 * time.Second
	DefaultActionTimeout  = time.Minute
	DefaultSampleInterval = 5 * time.Second
)

// Action is what a request does.
type Action string

// The actions of Config.Authorize.
const (
	Read           Action = "read"
	Replay         Action = "replay"          // dead letters to all groups of the topic
	Retry          Action = "retry"           // dead letters to the group that gave them up
	Drop           Action = "drop"            // dead letters
	DropDelayed    Action = "drop-delayed"    // messages that are not due yet
	DeliverDelayed Action = "deliver-delayed" // messages that are not due yet, now
	Skip           Action = "skip"            // entries, for a group
	PauseGroup     Action = "pause"
	ResumeGroup    Action = "resume"
)

// Config configures a Handler. Only Admin is required.
type Config struct {
	// Admin asks the server. Required.
	Admin *admin.Admin

	// Actions lets pages change something: replay, retry, drop, skip, pause and resume. Set it where
	// only people who may do that reach the page. Defaults to false: no page has a form that changes
	// something, and each POST is answered with 403.
	Actions bool

	// Authorize allows or refuses a request, after the check of Actions. An error is answered with
	// 403 and logged. It is also called with the other actions, to find out which forms a page
	// shows: make it quick. Set it where readers may do less than others, or where no middleware
	// wraps the handler. Defaults to nil: everything is allowed.
	Authorize func(r *http.Request, action Action) error

	// User returns a name for the person who sends a request, for the log and for those who see
	// that a group is paused. Set it where your authentication knows the name. Defaults to the
	// address of the client.
	User func(r *http.Request) string

	// Title is the heading of all pages. Set it to tell environments apart. Defaults to
	// DefaultTitle.
	Title string

	// Timeout is how long the server may take for a page. A search stops after half of this time
	// and shows what it found. Defaults to DefaultTimeout.
	Timeout time.Duration

	// ActionTimeout is how long an action may take. Changes until then stay, and the page shows how
	// many they are. Make it shorter than the WriteTimeout of the http.Server. Defaults to
	// DefaultActionTimeout.
	ActionTimeout time.Duration

	// SampleInterval is how often a topic is measured for the charts of rates and lag. Only topics
	// that someone looked at in the last 15 minutes are measured, at most 20. Lower it to see more
	// detail. Defaults to DefaultSampleInterval. Negative: there are no charts.
	SampleInterval time.Duration

	// TrustedOrigins are origins, as "https://ops.example.com", whose pages may send forms beside
	// the handler's own. Set the public one where a proxy changes the Host header. Defaults to none.
	TrustedOrigins []string

	// Logger gets a line for each action and for each error that the server answers. Defaults to
	// watermill.NopLogger{}.
	Logger watermill.LoggerAdapter
}

// complete returns the configuration with its defaults.
func (c Config) complete() (Config, error) {
	switch {
	case c.Admin == nil:
		return c, invalid("Admin", errors.New("is missing"))
	case c.Timeout < 0:
		return c, invalid("Timeout", errors.New("is negative"))
	case c.ActionTimeout < 0:
		return c, invalid("ActionTimeout", errors.New("is negative"))
	}
	if c.Title == "" {
		c.Title = DefaultTitle
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.ActionTimeout == 0 {
		c.ActionTimeout = DefaultActionTimeout
	}
	if c.SampleInterval == 0 {
		c.SampleInterval = DefaultSampleInterval
	}
	if c.Logger == nil {
		c.Logger = watermill.NopLogger{}
	}
	if c.User == nil {
		c.User = clientAddress
	}
	return c, nil
}

func invalid(field string, err error) error {
	return fmt.Errorf("%w: %s: %w", admin.ErrInvalidConfig, field, err)
}

func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
