package function

import (
	"context"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/event"
)

// CloudEvents is written for the CloudEvents SDK.
func CloudEvents(_ context.Context, in cloudevents.Event) (*cloudevents.Event, error) {
	var data any
	if err := in.DataAs(&data); err != nil {
		return nil, err
	}
	out := cloudevents.NewEvent()
	out.SetType("sdk." + in.Type())
	out.SetExtension("tier", in.Extensions()["tier"])
	return &out, out.SetData(cloudevents.ApplicationJSON, data)
}

// Framework has the signature of functions-framework-go.
func Framework(_ context.Context, in event.Event) error {
	var data map[string]string
	return in.DataAs(&data)
}

// Same returns the event that it got.
func Same(in event.Event) event.Event { return in }
