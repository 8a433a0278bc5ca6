package lambda

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"regexp"
	"time"
)

const resultType = "dev.knative-lambda.function.result"

var trace = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}`)

// A Context is what a function is told beside the event: who it is, and where to log. How long it has is the deadline
// of its context.Context.
type Context struct {
	Name        string       // the function's name
	Tenant      string       // the namespace that it belongs to
	Revision    string       // the Knative revision that runs, or ""
	Traceparent string       // the W3C trace context of this delivery, to be sent along with requests to others; or ""
	Log         *slog.Logger // its lines bear the event's id and the trace id
	cause       Event
}

type key struct{}

// From returns what a function is told, out of the context that it was called with.
func From(ctx context.Context) *Context {
	told, _ := ctx.Value(key{}).(*Context)
	if told == nil {
		return &Context{Log: slog.Default()}
	}
	return told
}

// Event returns an event for the function to return. Its id follows from the event that is handled and from `kind`, so
// that an event that is delivered twice is answered with the same id twice.
func (c *Context) Event(kind string, data any) Event {
	attributes := map[string]any{
		"specversion": "1.0",
		"id":          derivedID(c.cause, kind),
		"source":      c.source(),
		"type":        kind,
		"time":        time.Now().UTC().Format(time.RFC3339Nano),
	}
	for name, value := range map[string]string{
		"subject":     c.cause.Subject(),
		"causationid": c.cause.ID(),
		"traceparent": either(c.cause.text("traceparent"), c.Traceparent),
	} {
		if value != "" {
			attributes[name] = value
		}
	}
	return Event{attributes: attributes, data: data}
}

func (c *Context) source() string { return "/knative-lambda/functions/" + c.Tenant + "/" + c.Name }

// derivedID returns the id of the event of type `kind` that `cause` causes (no attribute can hold the separator).
func derivedID(cause Event, kind string) string {
	sum := sha256.Sum256([]byte(cause.Source() + "\x00" + cause.ID() + "\x00" + kind))
	return hex.EncodeToString(sum[:])
}

// traceID returns the trace id in a W3C `traceparent`, or "".
func traceID(traceparent string) string {
	if found := trace.FindStringSubmatch(traceparent); found != nil {
		return found[1]
	}
	return ""
}
