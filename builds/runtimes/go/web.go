package lambda

import (
	"bytes"
	"maps"
	"net/http"
)

// An http.HandlerFunc as a function: it answers what it likes, to whatever comes. But who sends an event gets one:
// a broker takes no other body, so what the function writes then is wrapped.

// web returns the answer of an HTTP function to `request`, straight to `w` unless the request is an event.
func (d *delivery) web(handler http.HandlerFunc, w http.ResponseWriter, request *http.Request) {
	event := Event{attributes: map[string]any{}}
	for _, name := range []string{"id", "type", "source", "subject", "traceparent"} {
		if value := request.Header.Get(prefix + name); value != "" {
			event.attributes[name] = fromHeader(value)
		}
	}
	isEvent := request.Header.Get(prefix+"specversion") != ""
	ctx, cancel, told := d.told(request.Context(), event, request.Header.Get("Traceparent"))
	defer cancel()
	defer d.slot()()
	defer func() {
		switch thrown := recover(); thrown {
		case nil:
		case http.ErrAbortHandler:
			panic(thrown)
		default:
			failed(told, thrown).send(w) // in vain where something was sent already
		}
	}()
	request = request.WithContext(ctx)
	request.Body = http.MaxBytesReader(w, request.Body, int64(d.settings.maxBody))
	if !isEvent {
		handler(w, request)
		return
	}
	kept := &keeping{header: http.Header{}}
	handler(kept, request)
	kept.wrap(told).send(w)
}

// keeping is an http.ResponseWriter that keeps what is written.
type keeping struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *keeping) Header() http.Header { return k.header }

func (k *keeping) WriteHeader(status int) {
	if k.status == 0 && status >= http.StatusOK {
		k.status = status
	}
}

func (k *keeping) Write(piece []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(piece)
}

// wrap returns the reply: what was written, in an event where it is a success and none.
func (k *keeping) wrap(told *Context) reply {
	k.WriteHeader(http.StatusOK)
	header, body := map[string]string{}, k.body.Bytes()
	for name := range k.header {
		header[name] = k.header.Get(name)
	}
	contentType := k.header.Get("Content-Type")
	isEvent := k.header.Get(prefix+"specversion") != "" || mediaOf(contentType) == structured
	if k.status >= http.StatusMultipleChoices || len(body) == 0 || isEvent {
		return reply{k.status, header, body}
	}
	contentType = either(contentType, http.DetectContentType(body))
	event := told.Event(resultType, body)
	event.attributes["datacontenttype"] = contentType
	answer, err := replyTo(event, told)
	if err != nil {
		told.Log.Error("the function's answer cannot be sent as an event: " + err.Error())
		return problem(http.StatusInternalServerError, "the function's answer is no CloudEvent and cannot be made one")
	}
	maps.Copy(header, answer.header)
	return reply{k.status, header, body}
}
