module knative-lambda.dev/lambda

go 1.24
