package lambda

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"
)

// newLog returns a logger of lines of JSON that all have these attributes.
func newLog(to io.Writer, always ...any) *slog.Logger {
	rename := func(groups []string, attribute slog.Attr) slog.Attr {
		switch {
		case len(groups) > 0:
		case attribute.Key == slog.MessageKey:
			attribute.Key = "message"
		case attribute.Key == slog.LevelKey && attribute.Value.String() == "WARN":
			attribute.Value = slog.StringValue("WARNING")
		}
		return attribute
	}
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{ReplaceAttr: rename})).With(always...)
}

// exceptionOf returns a name for what went wrong that holds none of its words.
func exceptionOf(thrown any) string { return strings.TrimPrefix(fmt.Sprintf("%T", thrown), "*") }

var panicked = regexp.MustCompile(`(?m)^panic\(.*\n.*\n`)

// traceback returns what panicked and where: the stack from the function's own frame on.
func traceback(thrown any) string {
	stack := string(debug.Stack())
	if found := panicked.FindStringIndex(stack); found != nil {
		stack = stack[found[1]:]
	}
	lines := strings.Split(stack, "\n")
	for at := 0; at+1 < len(lines); at += 2 { // a line for the function, and one for its place, which is told first
		lines[at], lines[at+1] = strings.TrimSpace(lines[at+1]), "  in "+lines[at]
	}
	return fmt.Sprintf("panic: %v\n%s", thrown, strings.Join(lines, "\n"))
}
