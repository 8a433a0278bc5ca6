package lambda

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// What lies beyond the limit of a body is read to its end up to so many times the limit, to be answered.
const discarded = 4

// A server knows paths, bodies and probes, and how it ends; nothing of events.
type server struct {
	answer  http.HandlerFunc // answers all but the probes
	maxBody int

	lock     sync.Mutex
	running  int
	draining bool
	rest     chan struct{} // told when nothing runs while it drains
}

func newServer(maxBody int) *server { return &server{maxBody: maxBody, rest: make(chan struct{}, 1)} }

func (s *server) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	draining := s.isDraining()
	if draining {
		w.Header().Set("Connection", "close")
	}
	switch {
	case request.Method == http.MethodGet && request.URL.Path == "/healthz":
		reply{status: http.StatusOK}.send(w)
	case request.Method == http.MethodGet && request.URL.Path == "/readyz" && draining:
		problem(http.StatusServiceUnavailable, "the process is ending").send(w)
	case request.Method == http.MethodGet && request.URL.Path == "/readyz":
		reply{status: http.StatusOK}.send(w)
	default:
		s.begin()
		defer s.end()
		s.answer(w, request)
	}
}

// event answers the one request that bears events, with what `handle` makes of its body.
func (s *server) event(w http.ResponseWriter, request *http.Request, handle func([]byte) reply) {
	answer := problem(http.StatusNotFound, "an event is sent with POST to /; the probes are /healthz and /readyz")
	switch {
	case request.Method == http.MethodPost:
		body, refused := s.body(w, request)
		switch {
		case refused != nil:
			answer = *refused
		case request.URL.Path != "/":
			answer = problem(http.StatusNotFound, "events go to /")
		default:
			answer = handle(body)
		}
	case request.Method != http.MethodGet:
		answer = problem(http.StatusNotImplemented, request.Method+" is not supported")
	}
	if s.isDraining() {
		w.Header().Set("Connection", "close")
	}
	answer.send(w)
}

// body returns a request's body, or the answer to one that cannot be read or is too large.
func (s *server) body(w http.ResponseWriter, request *http.Request) ([]byte, *reply) {
	body, err := io.ReadAll(io.LimitReader(request.Body, int64(s.maxBody)+1))
	large := len(body) > s.maxBody
	if err == nil && large {
		rest := int64(s.maxBody)*discarded - int64(len(body))
		var more int64
		more, err = io.Copy(io.Discard, io.LimitReader(request.Body, max(rest, 0)+1))
		if more > rest {
			w.Header().Set("Connection", "close")
		}
	}
	if err != nil {
		w.Header().Set("Connection", "close")
		why := err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			why = "the body ends early"
		}
		refused := problem(http.StatusBadRequest, why)
		return nil, &refused
	}
	if large {
		refused := problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", s.maxBody))
		return nil, &refused
	}
	return body, nil
}

// drain takes no new connections from now on.
func (s *server) drain(listener net.Listener) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.draining = true
	_ = listener.Close()
	if s.running == 0 {
		s.rest <- struct{}{}
	}
}

// idle waits until nothing runs, at most for `limit`, and tells whether nothing does.
func (s *server) idle(limit time.Duration) bool {
	select {
	case <-s.rest:
		return true
	case <-time.After(limit):
		return false
	}
}

func (s *server) isDraining() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.draining
}

func (s *server) begin() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.running++
}

func (s *server) end() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.running--
	if s.running == 0 && s.draining {
		select {
		case s.rest <- struct{}{}:
		default:
		}
	}
}
