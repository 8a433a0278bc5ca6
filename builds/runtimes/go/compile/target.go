package main

import (
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"strings"
)

const (
	wrapperPath = "knative-lambda.dev/lambda"
	sdkEvent    = "github.com/cloudevents/sdk-go/v2/event"
)

// A target is the package with the function, as the compiler wrote it down.
type target struct {
	path, name string
	exports    map[string]string // of every package: the file with what it exports
}

// main returns the source of the program that serves the package's function, or says why there is none.
func (t *target) main(name string) ([]byte, error) {
	if t.name == "main" {
		return nil, errors.New("a function's package may have any name but main, such as function")
	}
	object, err := t.lookup(name)
	if err != nil {
		return nil, err
	}
	call := "function." + name
	signature, isFunction := object.Type().(*types.Signature)
	_, isFunc := object.(*types.Func)
	if !isFunction || !isFunc {
		return nil, fmt.Errorf("'%s' is no function but a %s", name, object.Type())
	}
	if method := handleOf(signature); method != nil {
		call, signature = call+"().Handle", method.Type().(*types.Signature)
	}
	if isWeb(signature) {
		return source(t.path, "lambda.ServeHTTP("+call+")"), nil
	}
	body, imports, err := eventCall(call, signature)
	if err != nil {
		return nil, fmt.Errorf("'%s' is %s; it must take %w", name, types.TypeString(signature, nil), err)
	}
	return source(t.path, "lambda.Serve("+body+")", imports...), nil
}

// lookup returns what the package exports by that name.
func (t *target) lookup(name string) (types.Object, error) {
	open := func(path string) (io.ReadCloser, error) {
		file, found := t.exports[path]
		if !found || file == "" {
			return nil, fmt.Errorf("nothing is known of %s", path)
		}
		return os.Open(file)
	}
	compiled, err := importer.ForCompiler(token.NewFileSet(), "gc", open).Import(t.path)
	if err != nil {
		return nil, err
	}
	if object := compiled.Scope().Lookup(name); object != nil && object.Exported() {
		return object, nil
	}
	var there []string
	for _, each := range compiled.Scope().Names() {
		if function, found := compiled.Scope().Lookup(each).(*types.Func); found && function.Exported() {
			there = append(there, each)
		}
	}
	if there == nil {
		there = []string{"none"}
	}
	return nil, fmt.Errorf("package %s exports no function %s; it has: %s", t.name, name, strings.Join(there, ", "))
}

// handleOf returns the method Handle of what a function without parameters makes, or nil: Knative's func writes `New`.
func handleOf(signature *types.Signature) *types.Func {
	if signature.Params().Len() != 0 || signature.Results().Len() != 1 {
		return nil
	}
	method, _, _ := types.LookupFieldOrMethod(signature.Results().At(0).Type(), false, nil, "Handle")
	found, _ := method.(*types.Func)
	return found
}

func isWeb(signature *types.Signature) bool {
	return !signature.Variadic() && signature.Results().Len() == 0 && signature.Params().Len() == 2 &&
		typeAt(signature.Params(), 0) == "net/http.ResponseWriter" && typeAt(signature.Params(), 1) == "*net/http.Request"
}

func typeAt(tuple *types.Tuple, at int) string {
	return types.TypeString(types.Unalias(tuple.At(at).Type()), nil)
}

var errParameters = errors.New("(context.Context, lambda.Event) or (context.Context, cloudevents.Event), either of " +
	"them left out if you like, and return (any, error), error, any or nothing; or it must be an http.HandlerFunc")

// eventCall returns a lambda.Handler that calls a function of that signature, and what that imports.
func eventCall(call string, signature *types.Signature) (body string, imports []string, err error) {
	parameters, results := signature.Params(), signature.Results()
	var arguments []string
	prepare, at := "", 0
	if at < parameters.Len() && typeAt(parameters, at) == "context.Context" {
		arguments, at = append(arguments, "ctx"), at+1
	}
	if at < parameters.Len() {
		plain := strings.TrimPrefix(typeAt(parameters, at), "*")
		argument := "in"
		if plain != typeAt(parameters, at) {
			argument = "&in"
		}
		switch plain {
		case wrapperPath + ".Event":
			prepare = "\tin := given\n"
		case sdkEvent + ".Event":
			imports = append(imports, sdkEvent)
			prepare = "\tvar in event.Event\n\tif err := lambda.Decode(given, &in); err != nil {\n\t\treturn nil, err\n\t}\n"
		default:
			return "", nil, errParameters
		}
		arguments, at = append(arguments, argument), at+1
	}
	if at < parameters.Len() || signature.Variadic() || signature.TypeParams().Len() > 0 {
		return "", nil, errParameters
	}
	call += "(" + strings.Join(arguments, ", ") + ")"
	switch isError := func(at int) bool { return typeAt(results, at) == "error" }; {
	case results.Len() == 0:
		call = "\t" + call + "\n\treturn nil, nil\n"
	case results.Len() == 1 && isError(0):
		call = "\treturn nil, " + call + "\n"
	case results.Len() == 1:
		call = "\treturn " + call + ", nil\n"
	case results.Len() == 2 && isError(1):
		call = "\treturn " + call + "\n"
	default:
		return "", nil, errParameters
	}
	return "func(ctx context.Context, given lambda.Event) (any, error) {\n" + prepare + call + "}", imports, nil
}

func source(function, statement string, imports ...string) []byte {
	if strings.Contains(statement, "context.Context") {
		imports = append(imports, "context")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "package main\n\nimport (\n\tfunction %q\n\n\t%q\n", function, wrapperPath)
	for _, path := range imports {
		fmt.Fprintf(&text, "\t%q\n", path)
	}
	fmt.Fprintf(&text, ")\n\nfunc main() {\n\t%s\n}\n", statement)
	return []byte(text.String())
}
