package lambda

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The HTTP binding of CloudEvents 1.0: a request into an event, an event into a reply. delivery.go reads with it,
// reply.go writes with it. Both are pure: headers and bytes in, values out.

const (
	structured = "application/cloudevents+json"
	prefix     = "ce-"
)

// malformed says that the request bears no CloudEvent; it is everything that is wrong with it.
type malformed []Fault

func (m malformed) Error() string {
	var told []string
	for _, fault := range m {
		told = append(told, fault.Where+" "+fault.Message)
	}
	return strings.Join(told, "; ")
}

// unsupported says that the request bears events in a way that is not understood here.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// read returns the event of a request in binary or structured mode; its errors are malformed and unsupported.
func read(header http.Header, body []byte) (Event, error) {
	contentType := header.Get("Content-Type")
	switch media := mediaOf(contentType); {
	case media == structured:
		return readStructured(body)
	case strings.HasPrefix(media, "application/cloudevents-batch"):
		return Event{}, unsupported("a batch is not accepted: send its events one by one")
	case strings.HasPrefix(media, "application/cloudevents"):
		return Event{}, unsupported("the only format of structured events that is understood is " + structured)
	}
	return readBinary(header, contentType, body)
}

func readBinary(header http.Header, contentType string, body []byte) (Event, error) {
	attributes := map[string]any{}
	var faults []Fault
	for key, values := range header {
		name, found := strings.CutPrefix(strings.ToLower(key), prefix)
		if !found || name == "datacontenttype" {
			continue
		}
		if len(values) > 1 {
			faults = append(faults, Fault{name, "is given more than once"})
		}
		text := fromHeader(values[0])
		if !utf8.ValidString(text) {
			faults = append(faults, Fault{name, "is not UTF-8 where its percent signs are resolved"})
			text = values[0]
		}
		attributes[name] = text
	}
	if contentType != "" {
		attributes["datacontenttype"] = contentType
	}
	return checked(attributes, faults, body)
}

func readStructured(body []byte) (Event, error) {
	var members map[string]json.RawMessage
	if !utf8.Valid(body) {
		return Event{}, malformed{{"body", "is no JSON: it is not UTF-8"}}
	}
	if err := json.Unmarshal(body, &members); err != nil {
		return Event{}, malformed{{"body", "is no JSON object: " + err.Error()}}
	}
	if members == nil {
		return Event{}, malformed{{"body", "is no JSON object"}}
	}
	data, encoded := present(members["data"]), present(members["data_base64"])
	delete(members, "data")
	delete(members, "data_base64")
	attributes := map[string]any{}
	for name, raw := range members {
		if value := attributeOf(raw); value != nil {
			attributes[name] = value
		}
	}
	contentType, _ := attributes["datacontenttype"].(string)
	if encoded == nil {
		text := ""
		if !isJSON(contentType) && json.Unmarshal(data, &text) == nil {
			return checkedAs("utf-8", attributes, nil, []byte(text))
		}
		return checked(attributes, nil, data)
	}
	var faults []Fault
	if data != nil {
		faults = append(faults, Fault{"data_base64", "stands beside `data`: one of them is enough"})
	}
	var text string
	raw, err := []byte(nil), json.Unmarshal(encoded, &text)
	if err == nil {
		raw, err = base64.StdEncoding.Strict().DecodeString(text)
	}
	if err != nil {
		return Event{}, malformed(append(append(faults, Fault{"data_base64", "is no base64"}), faultsOf(attributes)...))
	}
	if contentType == "" {
		return bare(attributes, faults, raw)
	}
	return checked(attributes, faults, raw)
}

// bare returns the event of bytes that have no content type.
func bare(attributes map[string]any, faults []Fault, raw []byte) (Event, error) {
	if faults = append(faults, faultsOf(attributes)...); faults != nil {
		return Event{}, malformed(faults)
	}
	return Event{attributes: attributes, data: raw}, nil
}

func checked(attributes map[string]any, faults []Fault, body []byte) (Event, error) {
	contentType, _ := attributes["datacontenttype"].(string)
	return checkedAs(charsetOf(contentType), attributes, faults, body)
}

func checkedAs(charset string, attributes map[string]any, faults []Fault, body []byte) (Event, error) {
	faults = append(faults, faultsOf(attributes)...)
	contentType, _ := attributes["datacontenttype"].(string)
	var data any
	if faultIn("datacontenttype", contentType) == "" || contentType == "" {
		var err error
		if data, err = decode(body, contentType, charset); err != nil {
			what := contentType
			if what == "" {
				what = "JSON, as which it counts without a type"
			}
			faults = append(faults, Fault{"data", fmt.Sprintf("is no %s: %v", what, err)})
		}
	}
	if faults != nil {
		return Event{}, malformed(faults)
	}
	return Event{attributes, data, body}, nil
}

// decode returns bytes as what the content type makes of them.
func decode(body []byte, contentType, charset string) (any, error) {
	if len(body) == 0 {
		return nil, nil
	}
	if isJSON(contentType) {
		var data any
		if !utf8.Valid(body) {
			return nil, errors.New("it is not UTF-8")
		}
		err := json.Unmarshal(body, &data)
		return data, err
	}
	if !strings.HasPrefix(mediaOf(contentType), "text/") {
		return body, nil
	}
	switch charset {
	case "", "utf-8", "us-ascii", "ascii":
		if !utf8.Valid(body) {
			return nil, errors.New("it is not UTF-8")
		}
		return string(body), nil
	case "iso-8859-1", "latin-1", "latin1":
		runes := make([]rune, len(body))
		for at, each := range body {
			runes[at] = rune(each)
		}
		return string(runes), nil
	}
	return nil, fmt.Errorf("its charset %s is unknown: utf-8 and iso-8859-1 are not", charset)
}

// encode returns the body that an event's data makes, and the content type to say of it.
func encode(event Event) ([]byte, string, error) {
	contentType := event.text("datacontenttype")
	if event.body != nil {
		return event.body, contentType, nil
	}
	switch data := event.data.(type) {
	case nil:
		return nil, contentType, nil
	case []byte:
		return data, either(contentType, "application/octet-stream"), nil
	case string:
		if !isJSON(contentType) {
			return []byte(data), contentType, nil
		}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(event.data); err != nil {
		return nil, "", fmt.Errorf("it is no JSON: %w", err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), either(contentType, "application/json"), nil
}

// present returns a member of a JSON object, or nil where it is null.
func present(raw json.RawMessage) json.RawMessage {
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return nil
	}
	return raw
}

// attributeOf returns a structured event's attribute: a string, an int64, a bool, nil, or what is none of these.
func attributeOf(raw json.RawMessage) any {
	if number, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return number
	}
	var value any
	_ = json.Unmarshal(raw, &value)
	if text, isText := value.(string); isText && strings.Count(text, "\ufffd") > replacements(raw) {
		return text + "\xff" // half a surrogate pair, which json replaces: no text that may be an attribute
	}
	return value
}

// replacements counts the replacement characters that a JSON text really holds.
func replacements(raw []byte) int {
	return bytes.Count(raw, []byte("\ufffd")) + bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
}

var (
	escaped = regexp.MustCompile(`\\(.)`)
	lonely  = regexp.MustCompile(`%([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)`)
)

func fromHeader(value string) string {
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = escaped.ReplaceAllString(value[1:len(value)-1], "$1")
	}
	for at := 0; ; at++ { // a percent sign that escapes nothing stands for itself
		found := lonely.FindStringIndex(value[at:])
		if found == nil {
			break
		}
		at += found[0]
		value = value[:at] + "%25" + value[at+1:]
	}
	text, err := url.PathUnescape(value)
	if err != nil {
		return value
	}
	return text
}

func toHeader(value any) string {
	var header strings.Builder
	for _, each := range []byte(fmt.Sprint(value)) {
		if each < 0x21 || each > 0x7e || each == '"' || each == '%' {
			fmt.Fprintf(&header, "%%%02X", each)
		} else {
			header.WriteByte(each)
		}
	}
	return header.String()
}

func either(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
