// Package lambda is what a Go function is served with, and the little of it that a function may use: Event, and From.
package lambda

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	required  = []string{"specversion", "id", "source", "type"}
	specified = append(slices.Clone(required), "datacontenttype", "dataschema", "subject", "time")

	attributeName = regexp.MustCompile(`^[a-z0-9]+$`)
	forbidden     = regexp.MustCompile(`[\x00-\x1f\x7f-\x{9f}\x{fdd0}-\x{fdef}\x{fffe}\x{ffff}]`)
	mediaType     = regexp.MustCompile(`^[\w!#$&^.+-]+/[\w!#$&^.+-]+ *(;[ -~]*)?$`)
)

// An Event is a CloudEvent. It does not change: With returns another one.
type Event struct {
	attributes map[string]any // string, int64 or bool
	data       any
	body       []byte // the data as it came; nil where a function has made it
}

// A Fault is one thing that is wrong with an event: the attribute (or `data`), and what about it.
type Fault struct {
	Where   string `json:"where"`
	Message string `json:"message"`
}

// ID returns the attribute `id`.
func (e Event) ID() string { return e.text("id") }

// Source returns the attribute `source`.
func (e Event) Source() string { return e.text("source") }

// Type returns the attribute `type`.
func (e Event) Type() string { return e.text("type") }

// Subject returns the attribute `subject`, or "".
func (e Event) Subject() string { return e.text("subject") }

// Time returns the attribute `time`; the zero time where there is none.
func (e Event) Time() time.Time {
	moment, _ := parseTime(e.text("time"))
	return moment
}

// Attribute returns any attribute, an extension too: a string, an int64, a bool, or nil.
func (e Event) Attribute(name string) any { return e.attributes[name] }

// Attributes returns all attributes, in a map of the caller's own.
func (e Event) Attributes() map[string]any { return maps.Clone(e.attributes) }

// Data returns a JSON value as encoding/json makes it, a string for `text/*`, []byte otherwise, or nil.
func (e Event) Data() any { return e.data }

// DataAs decodes data that is JSON into what `into` points to.
func (e Event) DataAs(into any) error {
	if e.body != nil {
		return json.Unmarshal(e.body, into)
	}
	body, err := json.Marshal(e.data)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// With returns the event with one attribute more, or another value of it.
func (e Event) With(name string, value any) Event {
	e.attributes = maps.Clone(e.attributes)
	e.attributes[name] = value
	return e
}

// MarshalJSON returns the event in its structured form.
func (e Event) MarshalJSON() ([]byte, error) {
	whole := e.Attributes()
	_, isBytes := e.data.([]byte)
	switch body, _, err := encode(e); {
	case err != nil:
		return nil, err
	case len(body) == 0:
	case !isBytes && isJSON(e.text("datacontenttype")):
		whole["data"] = json.RawMessage(body)
	default:
		whole["data_base64"] = body
	}
	return json.Marshal(whole)
}

func (e Event) text(name string) string {
	text, _ := e.attributes[name].(string)
	return text
}

// names returns the names of attributes: the specified ones first.
func names(attributes map[string]any) []string {
	rank := func(name string) int {
		if at := slices.Index(specified, name); at >= 0 {
			return at
		}
		return len(specified)
	}
	return slices.SortedFunc(maps.Keys(attributes), func(a, b string) int {
		if difference := rank(a) - rank(b); difference != 0 {
			return difference
		}
		return strings.Compare(a, b)
	})
}

// faultsOf returns everything that is wrong with an event's attributes (CloudEvents 1.0, "Context Attributes").
func faultsOf(attributes map[string]any) []Fault {
	var faults []Fault
	for _, name := range required {
		if attributes[name] == nil {
			faults = append(faults, Fault{name, "is missing"})
		}
	}
	for _, name := range names(attributes) {
		if name == "data" || !attributeName.MatchString(name) {
			message := "is no name for an attribute: they are made of lower-case letters and digits, and `data` is taken"
			faults = append(faults, Fault{name, message})
		}
		if message := faultIn(name, attributes[name]); message != "" {
			faults = append(faults, Fault{name, message})
		}
	}
	return faults
}

func faultIn(name string, value any) string {
	known := slices.Contains(specified, name)
	text, isText := value.(string)
	switch {
	case !isText && known:
		return fmt.Sprintf("must be a text, not %v", value)
	case !isText:
		switch value.(type) {
		case int64, int, bool:
			return ""
		}
		return "must be a text, an integer or a boolean"
	case text == "" && known:
		return "is empty"
	case !utf8.ValidString(text) || forbidden.MatchString(text):
		return "holds a character that no attribute may have"
	case name == "specversion" && text != "1.0":
		return fmt.Sprintf("is %q; only '1.0' is understood", text)
	case name == "datacontenttype" && !mediaType.MatchString(text):
		return fmt.Sprintf("%q is no media type", text)
	case name == "time":
		if _, err := parseTime(text); err != nil {
			return fmt.Sprintf("%q is no RFC 3339 time", text)
		}
	}
	return ""
}

func parseTime(text string) (time.Time, error) {
	return time.Parse(time.RFC3339Nano, strings.ToUpper(text))
}

func mediaOf(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// isJSON tells whether data of that type is JSON, as it also is where nothing is said.
func isJSON(contentType string) bool {
	media := mediaOf(contentType)
	return media == "" || strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json")
}

func charsetOf(contentType string) string {
	_, parameters, _ := mime.ParseMediaType(contentType)
	return strings.ToLower(parameters["charset"])
}
