package lambda

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const (
	drainTime   = 30 * time.Second
	closingTime = time.Second
)

// Serve serves a function that takes events, until SIGTERM. Here everything is joined, and nowhere else is the
// environment read; the generated main calls it.
func Serve(handler Handler) {
	serve(func(delivery *delivery, server *server) {
		server.answer = func(w http.ResponseWriter, request *http.Request) {
			server.event(w, request, func(body []byte) reply { return delivery.handle(handler, request, body) })
		}
	})
}

// ServeHTTP serves a function that is an http.HandlerFunc.
func ServeHTTP(handler http.HandlerFunc) {
	serve(func(delivery *delivery, server *server) {
		server.answer = func(w http.ResponseWriter, request *http.Request) { delivery.web(handler, w, request) }
	})
}

func serve(join func(*delivery, *server)) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	settings, err := readSettings(os.Getenv)
	if err != nil {
		giveUp(err.Error())
	}
	log := newLog(os.Stderr, "function", settings.name, "tenant", settings.tenant, "revision", settings.revision)
	slog.SetDefault(log)
	if settings.parentPipe {
		go endWithParent()
	}
	if found, err := os.Stat(settings.code); err != nil || !found.IsDir() {
		giveUp("there is no folder " + settings.code)
	}
	if err := os.Chdir(settings.code); err != nil {
		giveUp(err.Error())
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(settings.host, strconv.Itoa(settings.port)))
	if err != nil {
		giveUp(err.Error())
	}
	server := newServer(settings.maxBody)
	join(newDelivery(settings, log), server)
	log.Info(fmt.Sprintf("listening on %s", listener.Addr()), "port", listener.Addr().(*net.TCPAddr).Port)
	web := &http.Server{Handler: server, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	go func() { _ = web.Serve(listener) }() // it ends with the listener

	<-stop
	server.drain(listener)
	if !server.idle(drainTime) {
		log.Warn(fmt.Sprintf("requests that still run after %s are given up", drainTime))
	}
	ctx, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	_ = web.Shutdown(ctx) // what was answered is sent
}

// endWithParent ends the process, whatever it does, once nobody holds the other end of its standard input.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// giveUp exits with the reason as the last line: of what a container printed, Knative shows the end.
func giveUp(reason string) {
	fmt.Fprintln(os.Stderr, "the function cannot be loaded: "+reason)
	os.Exit(1)
}
