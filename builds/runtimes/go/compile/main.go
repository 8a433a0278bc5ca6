// Command compile makes a program of a function: `compile <folder> <entrypoint> <program>`, in the folder of the
// wrapper's source; `@file` stands for an entrypoint that a file holds. It is run where an image of the function is built,
// and by the embedded mode. What is wrong with the function is told by the compiler's lines, and then in one last line
// that names the next step. `compile <folder>` only fetches the modules of the go.mod that lies there, if one does.
//
// The function's own module, the wrapper's and a generated main are joined by a workspace, so that the function's go.mod
// is used as it is. Nothing of the function is run.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

var flags = []string{"-trimpath", "-buildvcs=false", "-tags=timetzdata"}

// notCompiled are the compiler's words; they were printed.
type notCompiled string

func (n notCompiled) Error() string { return string(n) }

func main() {
	if proxy := os.Getenv("BUILD_GOPROXY"); proxy != "" { // the base's own GOPROXY goes before a build's argument
		os.Setenv("GOPROXY", proxy)
	}
	if len(os.Args) == 2 {
		fetch(os.Args[1])
		return
	}
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: compile <folder> [<entrypoint> <program>]")
		os.Exit(2)
	}
	if err := compile(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "the function cannot be loaded: "+err.Error())
		os.Exit(1)
	}
}

// fetch fetches modules before the code is there, so that they are a layer of their own. What fails is told when the
// function is compiled, which fetches what is missing.
func fetch(folder string) {
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err != nil {
		return
	}
	command := exec.Command("go", "mod", "download")
	command.Dir = folder
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "not all modules were fetched: "+err.Error())
	}
}

func compile(folder, entrypoint, program string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	if program, err = filepath.Abs(program); err != nil {
		return err
	}
	if found, err := os.Stat(folder); err != nil || !found.IsDir() {
		return fmt.Errorf("there is no folder %s", folder)
	}
	if file, found := strings.CutPrefix(entrypoint, "@"); found {
		held, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		entrypoint = string(held)
	}
	file, name, found := cutLast(entrypoint, ".")
	if !found || file == "" || name == "" {
		return fmt.Errorf("the entrypoint '%s' is not <file>.<function>, such as handle.Handle", entrypoint)
	}
	if _, err := os.Stat(filepath.Join(folder, file+".go")); err != nil {
		return fmt.Errorf("there is no %s.go in %s", file, folder)
	}
	space, err := newWorkspace(folder)
	if err != nil {
		return err
	}
	defer os.RemoveAll(space.folder)
	target, err := space.list(path.Dir(file))
	if err != nil {
		return err
	}
	generated, err := target.main(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(space.main(), "main.go"), generated, 0o600); err != nil {
		return err
	}
	_, err = space.run(space.main(), append([]string{"build", "-ldflags=-s -w", "-o", program}, flags...)...)
	return err
}

// A workspace is the folder that joins the modules.
type workspace struct {
	folder, function string
}

func (w workspace) main() string { return filepath.Join(w.folder, "main") }

// newWorkspace joins the function in `folder`, which gets the wrapper's go.mod where it has none, to the wrapper.
func newWorkspace(folder string) (workspace, error) {
	wrapper, err := os.Getwd()
	if err != nil {
		return workspace{}, err
	}
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); errors.Is(err, os.ErrNotExist) {
		for _, name := range []string{"go.mod", "go.sum"} {
			if err := copyFile(filepath.Join(wrapper, "sample", name), filepath.Join(folder, name)); err != nil {
				return workspace{}, err
			}
		}
	}
	temporary, err := os.MkdirTemp("", "compile-")
	if err != nil {
		return workspace{}, err
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
	made := workspace{temporary, folder}
	files := map[string]string{
		"go.work":     fmt.Sprintf("go %s\n\nuse (\n\t%q\n\t%q\n\t./main\n)\n", version, folder, wrapper),
		"main/go.mod": fmt.Sprintf("module %s/main\n\ngo %s\n", wrapperPath, version),
	}
	if err := os.Mkdir(made.main(), 0o700); err != nil {
		return workspace{}, err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(temporary, name), []byte(text), 0o600); err != nil {
			return workspace{}, err
		}
	}
	return made, nil
}

var (
	place    = regexp.MustCompile(`^(\S+\.go:\d+(:\d+)?|go: |package )`)
	noModule = regexp.MustCompile(`(?:no required module provides|cannot find module providing) package ([^\s:;]+)`)
)

// run runs a go command in a folder, its errors printed, and returns its output.
func (w workspace) run(folder string, arguments ...string) ([]byte, error) {
	command := exec.Command("go", arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), "GOWORK="+filepath.Join(w.folder, "go.work"), "GOFLAGS=", "CGO_ENABLED=0", "GOTOOLCHAIN=local")
	var errorsOut bytes.Buffer
	command.Stderr = io.MultiWriter(os.Stderr, &errorsOut)
	output, err := command.Output()
	if err == nil {
		return output, nil
	}
	told := errorsOut.String()
	if found := noModule.FindStringSubmatch(told); found != nil {
		return nil, notCompiled(fmt.Sprintf("it imports %s, which no module provides: is it in go.mod?", found[1]))
	}
	for _, line := range strings.Split(told, "\n") {
		if place.MatchString(line) {
			return nil, notCompiled(strings.TrimPrefix(line, "./"))
		}
	}
	return nil, notCompiled("go " + arguments[0] + ": " + strings.TrimSpace(told) + " (" + err.Error() + ")")
}

// list compiles the package in a folder of the function, and returns what the compiler knows of it.
func (w workspace) list(folder string) (*target, error) {
	format := "{{.ImportPath}}\t{{.Name}}\t{{.Export}}"
	arguments := append([]string{"list", "-export", "-deps", "-f", format}, flags...)
	output, err := w.run(w.function, append(arguments, "./"+folder)...)
	if err != nil {
		return nil, err
	}
	found := &target{exports: map[string]string{}}
	for _, line := range strings.Split(strings.TrimSpace(string(output)), "\n") {
		fields := strings.SplitN(line, "\t", 3)
		if len(fields) != 3 {
			continue
		}
		found.path, found.name = fields[0], fields[1] // the last is the package itself
		found.exports[fields[0]] = fields[2]
	}
	return found, nil
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return "", text, false
	}
	return text[:at], text[at+len(separator):], true
}

func copyFile(from, to string) error {
	body, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, body, 0o644)
}
