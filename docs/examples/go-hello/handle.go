// Package function greets whoever the event names, and gives them the number that their name always has.
package function

import (
	"context"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/google/uuid"

	"knative-lambda.dev/lambda"
)

// Handle answers with an event of the type `dev.knative-lambda.function.result`.
func Handle(ctx context.Context, event cloudevents.Event) (any, error) {
	data := struct{ Name string }{"world"}
	if err := event.DataAs(&data); err != nil {
		return nil, err
	}
	lambda.From(ctx).Log.Info("greeting " + data.Name)
	return map[string]string{"hello": data.Name, "id": uuid.NewSHA1(uuid.NameSpaceDNS, []byte(data.Name)).String()}, nil
}
