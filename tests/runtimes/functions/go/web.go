package function

import (
	"io"
	"net/http"
)

// Web is an HTTP function: that of Knative's func, and of functions-framework-go.
func Web(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/teapot" {
		http.Error(w, "short and stout", http.StatusTeapot)
		return
	}
	if r.URL.Query().Has("panic") {
		panic("the password is 1234")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI()+" "+string(body))
}
