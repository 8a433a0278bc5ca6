// Package module is a function in a folder, made the way that Knative's func does it.
package module

import "knative-lambda.dev/lambda"

// A Function keeps what it likes.
type Function struct{}

// New returns the function.
func New() *Function { return &Function{} }

// Handle takes an event.
func (*Function) Handle(event lambda.Event) any { return event.Data() }
