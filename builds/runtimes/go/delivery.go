package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// A Handler is a function that takes events, as the generated main hands it over.
type Handler func(ctx context.Context, event Event) (any, error)

// A delivery hands requests to a function, at most as many at once as the settings say.
type delivery struct {
	settings settings
	log      *slog.Logger
	slots    chan struct{}
}

func newDelivery(settings settings, log *slog.Logger) *delivery {
	made := &delivery{settings: settings, log: log}
	if settings.concurrency > 0 {
		made.slots = make(chan struct{}, settings.concurrency)
	}
	return made
}

// slot waits for a turn, and returns what ends it.
func (d *delivery) slot() func() {
	if d.slots == nil {
		return func() {}
	}
	d.slots <- struct{}{}
	return func() { <-d.slots }
}

// told returns what the function is told, and the context that it is called with.
func (d *delivery) told(ctx context.Context, event Event, traceparent string) (context.Context, func(), *Context) {
	traceparent = either(traceparent, event.text("traceparent"))
	log := d.log.With("event_id", event.ID(), "event_type", event.Type(), "trace_id", traceID(traceparent))
	told := &Context{d.settings.name, d.settings.tenant, d.settings.revision, traceparent, log, event}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(d.settings.timeout)*time.Second)
	return context.WithValue(ctx, key{}, told), cancel, told
}

// handle returns the reply to a request. Whatever the function does, there is one: a broker takes 4xx as final, and
// delivers again after a 500.
func (d *delivery) handle(handler Handler, request *http.Request, body []byte) (answer reply) {
	event, err := read(request.Header, body)
	var faults malformed
	if errors.As(err, &faults) {
		return problem(http.StatusBadRequest, "the request is no well-formed CloudEvent", faults...)
	}
	if err != nil {
		return problem(http.StatusUnsupportedMediaType, err.Error())
	}
	ctx, cancel, told := d.told(request.Context(), event, request.Header.Get("Traceparent"))
	defer cancel()
	defer d.slot()()
	defer func() {
		if thrown := recover(); thrown != nil {
			answer = failed(told, thrown)
		}
	}()
	value, err := handler(ctx, event)
	if err != nil {
		name := exceptionOf(err)
		told.Log.Error("the function returned an error: "+err.Error(), "exception", name)
		return problem(http.StatusInternalServerError, name)
	}
	answer, err = replyTo(value, told)
	if err != nil {
		told.Log.Error(fmt.Sprintf("the function returned a %T, which cannot be sent: %v", value, err))
		return problem(http.StatusInternalServerError, "the function's return value is neither a CloudEvent nor JSON")
	}
	return answer
}

// failed logs a panic of the function, and returns the answer to its event.
func failed(told *Context, thrown any) reply {
	name := exceptionOf(thrown)
	told.Log.Error(fmt.Sprintf("the function panicked: %v", thrown), "exception", name, "traceback", traceback(thrown))
	return problem(http.StatusInternalServerError, name)
}
