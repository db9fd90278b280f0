package zonefile

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"

	"github.com/eider-dns/eider/store/record"
)

// include reads another file in place of the directive. Origin and owner are
// afterwards what they were before (RFC 1035 section 5.1); $TTL stays.
func (r *reader) include(src *source, at token, args []token) error {
	if len(args) < 1 || len(args) > 2 {
		return at.errorf("expected a file and, maybe, an origin after $INCLUDE, got %d words; for example: $INCLUDE hosts.zone", len(args))
	}
	if src.depth+1 >= MaxIncludeDepth {
		return at.errorf("expected files included at most %d deep, got one more; do they include each other?", MaxIncludeDepth)
	}
	if r.includes++; r.includes > MaxIncludes {
		return at.errorf("expected at most %d $INCLUDEs in all", MaxIncludes)
	}
	origin := r.origin
	if len(args) == 2 {
		name, err := appendName(nil, args[1], r.origin, false, "the name of an origin")
		if err != nil {
			return err
		}
		origin = record.Name(name)
	}
	f, rel, bad := r.open(src, args[0])
	if bad != nil {
		return bad
	}
	defer f.Close()
	sub := &source{name: filepath.Join(r.o.Dir, rel), rel: rel, depth: src.depth + 1}
	sub.recs.lines.br = bufio.NewReaderSize(f, includeBuffer)
	beforeOrigin, beforeOwner := r.origin, r.owner
	r.origin = origin
	err := r.read(sub)
	r.origin, r.owner, r.ownerText = beforeOrigin, beforeOwner, r.ownerText[:0]
	return err
}

// includeBuffer is the read buffer of an included file in octets.
const includeBuffer = 16 << 10

// open opens a file to include, relative to the one that names it. The root
// keeps it below Options.Dir, symbolic links and all.
func (r *reader) open(src *source, at token) (*os.File, string, *Error) {
	if r.o.Dir == "" {
		return nil, "", at.errorf("expected no $INCLUDE here: no folder is known to include from")
	}
	path := string(at.text)
	if filepath.IsAbs(path) {
		rel, err := relative(r.o.Dir, path)
		if err != nil {
			return nil, "", at.errorf("expected a file below %s to include, got %s", r.o.Dir, at)
		}
		path = rel
	} else {
		path = filepath.Join(filepath.Dir(src.rel), path)
	}
	if r.root == nil {
		root, err := os.OpenRoot(r.o.Dir)
		if err != nil {
			return nil, "", &Error{Line: at.line, Column: at.column, What: "expected a folder to include from: " + err.Error(), Err: err}
		}
		r.root = root
	}
	f, err := r.root.Open(path)
	if err != nil {
		return nil, "", &Error{
			Line: at.line, Column: at.column, Err: err,
			What: fmt.Sprintf("expected a file below %s to include, got %s: %v", r.o.Dir, at, err),
		}
	}
	return f, path, nil
}

// relative is path as seen from dir.
func relative(dir, path string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	return filepath.Rel(dir, path)
}
