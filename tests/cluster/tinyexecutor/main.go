// Takes Kaniko's arguments and pushes the image that a function without dependencies is: the base, which the registry has
// already, and the context's function/ as one layer upon it. No instruction of a Dockerfile is run, so that a thousand
// builds fit a small machine. What it would build wrongly, it refuses.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The whole recipe of a function without dependencies, but for its comments.
const recipe = "ARG BASE\nFROM ${BASE}\nCOPY function/ /function/"

func main() {
	if err := build(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build(arguments []string) error {
	given := map[string]string{}
	for _, argument := range arguments {
		key, value, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
		if key == "build-arg" {
			key, value, _ = strings.Cut(value, "=")
		}
		given[key] = value
	}
	base, err := name.NewDigest(given["BASE"], name.Insecure)
	if err != nil {
		return fmt.Errorf("BASE: %w", err)
	}
	destination, err := name.NewTag(given["destination"], name.Insecure)
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	layer, err := code(strings.TrimPrefix(given["context"], "tar://"))
	if err != nil {
		return err
	}
	image, err := remote.Image(base)
	if err != nil {
		return err
	}
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "COPY function/ /function/"}})
	if err != nil {
		return err
	}
	if err := remote.Write(destination, image); err != nil { // the base's layers are mounted, no byte of them moves
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	fmt.Println("pushed", destination.Context().Digest(digest.String()))
	return os.WriteFile(given["digest-file"], []byte(digest.String()), 0o644)
}

// code returns the layer of the context's function/.
func code(context string) (v1.Layer, error) {
	file, err := os.Open(context)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	writer, reader := tar.NewWriter(&layer), tar.NewReader(unpacked)
	for {
		entry, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		if entry.Name == "Dockerfile" && said(string(content)) != recipe {
			return nil, errors.New("only the Dockerfile of a function without dependencies is known here")
		}
		if !strings.HasPrefix(entry.Name, "function/") {
			continue
		}
		header := &tar.Header{
			Typeflag: entry.Typeflag, Name: entry.Name, Linkname: entry.Linkname, Mode: entry.Mode,
			Size: int64(len(content)), ModTime: time.Unix(0, 0),
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(content); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
}

func said(dockerfile string) string {
	var lines []string
	for _, line := range strings.Split(dockerfile, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
