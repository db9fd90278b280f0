package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Modules whose source can be edited. std is the standard library.
const (
	ourModule  = "github.com/eider-dns/eider"
	raftModule = "github.com/hashicorp/raft"
	boltModule = "go.etcd.io/bbolt"
	std        = "std"
)

// edit is one place in a source file: old, which must be there once, becomes new. An edit
// without old makes the file.
type edit struct {
	module   string
	file     string
	old, new string
}

// editedSource has the compiler read edited files in the place of those there are; nothing in
// the source tree or the module cache is touched. It gives the flags for `go build` and `go test`.
func editedSource(dir string, edits []edit) (flags []string, err error) {
	files := map[[2]string]string{} // module and file, to its source
	tops := map[string]string{}
	for _, e := range edits {
		if tops[e.module] == "" {
			if tops[e.module], err = topOf(e.module); err != nil {
				return nil, err
			}
		}
		at := [2]string{e.module, e.file}
		if files[at], err = e.apply(files[at], filepath.Join(tops[e.module], e.file)); err != nil {
			return nil, err
		}
	}
	replaced := map[string]string{} // for the overlay
	copies := map[string]string{}   // modules of the cache, which cannot be overlaid, to their copies
	for at, source := range files {
		module, file := at[0], at[1]
		if module == ourModule || module == std {
			other := filepath.Join(dir, "edited", strings.ReplaceAll(module+"/"+file, "/", "_"))
			if err := writeFile(other, source); err != nil {
				return nil, err
			}
			replaced[filepath.Join(tops[module], file)] = other
			continue
		}
		if copies[module] == "" {
			copies[module] = filepath.Join(dir, "edited", strings.ReplaceAll(module, "/", "_"))
			if err := copyModule(copies[module], tops[module]); err != nil {
				return nil, err
			}
		}
		if err := writeFile(filepath.Join(copies[module], file), source); err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return nil, err
	}
	list := filepath.Join(dir, "overlay.json")
	flags = []string{"-trimpath", "-overlay", list}
	if len(copies) == 0 {
		return flags, os.WriteFile(list, b, 0o644)
	}
	mod, err := replaceModules(dir, copies)
	return append(flags, "-modfile", mod), errors.Join(err, os.WriteFile(list, b, 0o644))
}

// apply gives the source of the file at path, or what was made of it already, with the edit in it.
func (e edit) apply(source, path string) (string, error) {
	if e.old == "" {
		return e.new, nil
	}
	if source == "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		source = string(b)
	}
	if n := strings.Count(source, e.old); n != 1 {
		return "", fmt.Errorf("%s holds %q %d times, not once; cmd/eider-chaos has to follow the source", e.file, e.old, n)
	}
	return strings.Replace(source, e.old, e.new, 1), nil
}

// topOf is the folder of a module.
func topOf(module string) (string, error) {
	if module == std {
		goroot, err := goCommand("env", "GOROOT")
		return filepath.Join(goroot, "src"), err
	}
	return goCommand("list", "-m", "-f", "{{.Dir}}", module)
}

func copyModule(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

// writeFile writes over a file that may be read-only, as a copy from the module cache is.
func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	_ = os.Remove(path)
	return os.WriteFile(path, []byte(text), 0o644)
}

// replaceModules makes a go.mod that takes modules from their copies.
func replaceModules(dir string, copies map[string]string) (mod string, err error) {
	mod = filepath.Join(dir, "edited.mod")
	own, err := topOf(ourModule)
	if err != nil {
		return "", err
	}
	for from, to := range map[string]string{"go.mod": mod, "go.sum": filepath.Join(dir, "edited.sum")} {
		b, err := os.ReadFile(filepath.Join(own, from))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			return "", err
		}
	}
	for module, path := range copies {
		if _, err := goCommand("mod", "edit", "-replace", module+"="+path, mod); err != nil {
			return "", err
		}
	}
	return mod, nil
}

func goCommand(args ...string) (string, error) {
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
