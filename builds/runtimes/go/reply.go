package lambda

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
)

// A reply is an answer before it is sent. A body that is no CloudEvent would make a broker deliver the event again, so
// a 2xx is either empty or one event in binary mode.
type reply struct {
	status int
	header map[string]string
	body   []byte
}

func (r reply) send(w http.ResponseWriter) {
	for name, value := range r.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // whoever asked may be gone
}

// problem returns an answer that says what went wrong (RFC 9457).
func problem(status int, detail string, faults ...Fault) reply {
	if faults == nil {
		faults = []Fault{}
	}
	told := map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail, "faults": faults,
	}
	body, _ := json.Marshal(told) // texts and numbers
	return reply{status, map[string]string{"Content-Type": "application/problem+json"}, body}
}

// replyTo returns the answer for what a function returned, or why there is none.
func replyTo(value any, told *Context) (reply, error) {
	if isNothing(value) {
		return reply{status: http.StatusAccepted}, nil
	}
	event, err := eventOf(value, told)
	if err != nil {
		return reply{}, err
	}
	if faults := faultsOf(event.attributes); faults != nil {
		return reply{}, malformed(faults)
	}
	body, contentType, err := encode(event)
	if err != nil {
		return reply{}, err
	}
	header := map[string]string{}
	for name, value := range event.attributes {
		if name != "datacontenttype" {
			header[prefix+name] = toHeader(value)
		}
	}
	if contentType != "" {
		header["Content-Type"] = contentType
	}
	return reply{http.StatusOK, header, body}, nil
}

func isNothing(value any) bool {
	switch found := reflect.ValueOf(value); found.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return found.IsNil()
	}
	return false
}

// eventOf returns the event that a value is (ours, an SDK's, a map with what is required), or the one it is wrapped in.
func eventOf(value any, told *Context) (Event, error) {
	switch value := value.(type) {
	case Event:
		return value, nil
	case *Event:
		return *value, nil
	case map[string]any:
		if hasRequired(value) {
			return eventOfMap(value)
		}
	case []byte:
		return Event{}, errors.New("bytes are no JSON; lambda.From(ctx).Event(kind, data) sends them")
	}
	if sdk, found := sdkEventOf(value); found {
		return eventOfSDK(sdk, told)
	}
	return told.Event(resultType, value), nil
}

func hasRequired(value map[string]any) bool {
	for _, name := range required {
		if _, found := value[name]; !found {
			return false
		}
	}
	return true
}

func eventOfMap(value map[string]any) (Event, error) {
	attributes := map[string]any{}
	for name, each := range value {
		if each != nil && name != "data" && name != "data_base64" {
			attributes[name] = each
		}
	}
	data := value["data"]
	if encoded, found := value["data_base64"].(string); found {
		var raw []byte
		if err := json.Unmarshal([]byte(strconv.Quote(encoded)), &raw); err != nil {
			return Event{}, errors.New("its data_base64 is no base64")
		}
		data = raw
	}
	return Event{attributes: attributes, data: data}, nil
}

// An sdkEvent is an event of github.com/cloudevents/sdk-go, whichever version a function brings.
type sdkEvent interface {
	json.Marshaler
	SpecVersion() string
	Type() string
	ID() string
	SetID(string)
	Source() string
	SetSource(string)
}

func sdkEventOf(value any) (sdkEvent, bool) {
	if event, found := value.(sdkEvent); found {
		return event, true
	}
	pointer := reflect.New(reflect.TypeOf(value))
	pointer.Elem().Set(reflect.ValueOf(value))
	event, found := pointer.Interface().(sdkEvent)
	return event, found
}

// eventOfSDK fills in what the SDK's own client would have: the id, and the source.
func eventOfSDK(event sdkEvent, told *Context) (Event, error) {
	if event.ID() == "" {
		event.SetID(derivedID(told.cause, event.Type()))
	}
	if event.Source() == "" {
		event.SetSource(told.source())
	}
	body, err := event.MarshalJSON()
	if err != nil {
		return Event{}, err
	}
	return readStructured(body)
}

// Decode makes an event of github.com/cloudevents/sdk-go out of ours; what calls a function calls it.
func Decode(event Event, into json.Unmarshaler) error {
	body, err := event.MarshalJSON()
	if err != nil {
		return err
	}
	return into.UnmarshalJSON(body)
}
