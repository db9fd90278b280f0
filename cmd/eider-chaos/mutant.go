package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/eider-dns/eider/cmd/eidertest"
)

// mutant is a node with one promise taken out of its source: a run of it must be
// red. The source itself is not touched; the compiler is given another file.
type mutant struct {
	what     string
	module   string // of the file
	file     string
	old, new string
	only     string // the faults that bring it out
}

const (
	ourModule  = "github.com/eider-dns/eider"
	raftModule = "github.com/hashicorp/raft"
)

var mutants = map[string]mutant{
	"no-quorum": {
		"the leader alone commits", raftModule, "commitment.go",
		"matched[(len(matched)-1)/2]", "matched[len(matched)-1]", "kill-leader,part-leader,mute-leader",
	},
	"no-ids": {
		"a change proposed again under its id is done again", ourModule, "store/apply.go",
		"if res, ok := b.remembered(c.ID); ok {", "if res, ok := b.remembered(c.ID); ok && false {", "kill-leader,part-leader,pause-leader,kill-all",
	},
	"no-hint": {
		"after a kill a node answers from its checkpoint, further back than before", ourModule, "cluster/hint.go",
		"if log != h.log {", "if true || log != h.log {", "kill-one,kill-all",
	},
}

// buildMutant builds the binary with the mutant in it.
func buildMutant(dir, name string) (bin string, err error) {
	m := mutants[name]
	top, err := goCommand("list", "-m", "-f", "{{.Dir}}", m.module)
	if err != nil {
		return "", err
	}
	path := filepath.Join(top, m.file)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	source := string(b)
	if n := strings.Count(source, m.old); n != 1 {
		return "", fmt.Errorf("%s holds %q %d times, not once; -mutant %s has to follow the source", m.file, m.old, n, name)
	}
	source = strings.Replace(source, m.old, m.new, 1)
	var flags []string
	if m.module == ourModule {
		flags, err = overlay(dir, path, source)
	} else {
		flags, err = replaceModule(dir, m, top, source)
	}
	if err != nil {
		return "", err
	}
	return eidertest.Build(dir, flags...)
}

// overlay has the compiler read source in the place of the file at path.
func overlay(dir, path, source string) (flags []string, err error) {
	other, list := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{path: other}})
	if err != nil {
		return nil, err
	}
	return []string{"-overlay", list}, errors.Join(os.WriteFile(other, []byte(source), 0o644), os.WriteFile(list, b, 0o644))
}

// replaceModule has the build take a copy of a module from top with one file
// changed: files of the module cache cannot be overlaid.
func replaceModule(dir string, m mutant, top, source string) (flags []string, err error) {
	module, mod := filepath.Join(dir, "module"), filepath.Join(dir, "mutant.mod")
	if err := os.RemoveAll(module); err != nil {
		return nil, err
	}
	if err := os.CopyFS(module, os.DirFS(top)); err != nil {
		return nil, err
	}
	own, err := goCommand("list", "-m", "-f", "{{.Dir}}", ourModule)
	if err != nil {
		return nil, err
	}
	for from, to := range map[string]string{"go.mod": mod, "go.sum": filepath.Join(dir, "mutant.sum")} {
		b, err := os.ReadFile(filepath.Join(own, from))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			return nil, err
		}
	}
	changed := filepath.Join(module, m.file)
	if err := errors.Join(os.Chmod(changed, 0o644), os.WriteFile(changed, []byte(source), 0o644)); err != nil {
		return nil, err
	}
	_, err = goCommand("mod", "edit", "-replace", m.module+"="+module, mod)
	return []string{"-modfile", mod}, err
}

func goCommand(args ...string) (string, error) {
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func mutantNames() []string {
	names := make([]string, 0, len(mutants))
	for name := range mutants {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
