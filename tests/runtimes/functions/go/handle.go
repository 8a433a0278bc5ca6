// Package function is what the contract suite asks of a function, by the type of the event; python/main.py does the same.
package function

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"sync/atomic"
	"time"

	"knative-lambda.dev/lambda"
)

var (
	other = make(chan struct{})
	busy  atomic.Int32
)

type rangeError struct{ text string }

func (r rangeError) Error() string { return r.text }

type function func(context.Context, lambda.Event) (any, error)

var table = map[string]function{
	"see":          see,
	"nothing":      func(context.Context, lambda.Event) (any, error) { return nil, nil },
	"give":         func(_ context.Context, event lambda.Event) (any, error) { return event.Data(), nil },
	"same":         func(_ context.Context, event lambda.Event) (any, error) { return event, nil },
	"made":         made,
	"plain-event":  plainEvent,
	"binary-event": binaryEvent,
	"bad-event":    badEvent,
	"no-json":      func(context.Context, lambda.Event) (any, error) { return func() {}, nil },
	"bytes":        func(context.Context, lambda.Event) (any, error) { return []byte("bytes"), nil },
	"fail":         func(context.Context, lambda.Event) (any, error) { panic(rangeError{"the password is 1234"}) },
	"say":          say,
	"about":        about,
	"wait":         wait,
	"meet":         meet,
	"crowd":        crowd,
}

// Handle is the function of nearly all tests.
func Handle(ctx context.Context, event lambda.Event) (any, error) {
	return table[event.Type()](ctx, event)
}

// One takes an event alone.
func One(event lambda.Event) any { return event.Data() }

// ByPointer takes a pointer.
func ByPointer(_ context.Context, event *lambda.Event) (any, error) { return event.Data(), nil }

// Returning returns an error as it is.
func Returning(context.Context, lambda.Event) error { return errors.New("the password is 1234") }

func see(_ context.Context, event lambda.Event) (any, error) {
	if raw, isBytes := event.Data().([]byte); isBytes {
		return map[string]any{"attributes": event.Attributes(), "bytes": hex.EncodeToString(raw)}, nil
	}
	return map[string]any{"attributes": event.Attributes(), "value": event.Data()}, nil
}

func made(ctx context.Context, event lambda.Event) (any, error) {
	var wanted struct {
		Type string `json:"type"`
		Data any    `json:"data"`
	}
	if err := event.DataAs(&wanted); err != nil {
		return nil, err
	}
	return lambda.From(ctx).Event(wanted.Type, wanted.Data).With("subject", "its own"), nil
}

func plainEvent(context.Context, lambda.Event) (any, error) {
	return map[string]any{
		"specversion": "1.0", "id": "7", "source": "/elsewhere", "type": "plain", "subject": `é "%`, "flag": true,
		"datacontenttype": "text/plain", "data": "grüß",
	}, nil
}

func binaryEvent(ctx context.Context, _ lambda.Event) (any, error) {
	return lambda.From(ctx).Event("made", []byte{0, 255}), nil
}

func badEvent(context.Context, lambda.Event) (any, error) {
	return map[string]any{"specversion": "1.0", "id": "", "source": "/elsewhere", "type": "plain", "bad_name": "x"}, nil
}

func say(ctx context.Context, _ lambda.Event) (any, error) {
	lambda.From(ctx).Log.Info("said by the function")
	return nil, nil
}

func about(ctx context.Context, _ lambda.Event) (any, error) {
	told := lambda.From(ctx)
	deadline, _ := ctx.Deadline()
	return map[string]any{
		"name": told.Name, "tenant": told.Tenant, "revision": told.Revision, "traceparent": told.Traceparent,
		"seconds": math.Round(time.Until(deadline).Seconds()*10) / 10,
	}, nil
}

func wait(_ context.Context, event lambda.Event) (any, error) {
	var files struct{ Began, Until string }
	if err := event.DataAs(&files); err != nil {
		return nil, err
	}
	if err := os.WriteFile(files.Began, nil, 0o600); err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(files.Until); err == nil {
			return "done", nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func meet(context.Context, lambda.Event) (any, error) {
	select {
	case other <- struct{}{}:
	case <-other:
	}
	return "met", nil
}

func crowd(context.Context, lambda.Event) (any, error) {
	defer busy.Add(-1)
	busy.Add(1)
	time.Sleep(50 * time.Millisecond)
	return busy.Load(), nil
}
