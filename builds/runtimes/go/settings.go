package lambda

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// settings are the wrapper's. serve.go reads them from the environment, once; nobody else reads it.
type settings struct {
	code        string // LAMBDA_CODE: the folder with the function's files
	host        string // HOST: the address to listen on; all of them by default
	port        int    // PORT: where to listen; 0 takes a free one, which the first line of the log tells
	name        string // K_SERVICE: the function's name
	revision    string // K_REVISION
	tenant      string // LAMBDA_TENANT
	maxBody     int    // LAMBDA_MAX_BODY: bytes
	concurrency int    // LAMBDA_CONCURRENCY: events handled at once; 0 sets no bound
	timeout     int    // LAMBDA_TIMEOUT: seconds until a sender gives up on an answer
	parentPipe  bool   // LAMBDA_PARENT_PIPE: end when standard input does
}

// readSettings returns the settings in the environment, or an error that names all faults together.
func readSettings(getenv func(string) string) (settings, error) {
	var faults []string
	number := func(name string, otherwise int) int {
		text := getenv(name)
		if text == "" {
			return otherwise
		}
		value, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s is %q, which is no whole number", name, text))
		}
		return int(value)
	}
	read := settings{
		code:        either(getenv("LAMBDA_CODE"), "/function"),
		host:        getenv("HOST"),
		port:        number("PORT", 8080),
		name:        either(getenv("K_SERVICE"), "function"),
		revision:    getenv("K_REVISION"),
		tenant:      either(getenv("LAMBDA_TENANT"), "default"),
		maxBody:     number("LAMBDA_MAX_BODY", 10*1024*1024),
		concurrency: number("LAMBDA_CONCURRENCY", 0),
		timeout:     number("LAMBDA_TIMEOUT", 60),
		parentPipe:  getenv("LAMBDA_PARENT_PIPE") != "",
	}
	if faults != nil {
		return settings{}, errors.New(strings.Join(faults, "; "))
	}
	return read, nil
}
