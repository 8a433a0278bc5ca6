// Package function is compiled once when the runtime's base image is made, so that what nearly every function needs is
// in the compiler's cache. Its go.mod is that of functions that have none.
package function

import (
	"context"
	"net/http"

	cloudevents "github.com/cloudevents/sdk-go/v2"

	"knative-lambda.dev/lambda"
)

// Handle answers with the event that it got.
func Handle(ctx context.Context, event cloudevents.Event) (*cloudevents.Event, error) {
	lambda.From(ctx).Log.Info("called", "limit", http.StatusOK)
	return &event, nil
}
