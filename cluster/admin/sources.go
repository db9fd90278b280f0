package admin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/eider-dns/eider/store/record"
	"github.com/eider-dns/eider/zonefile"
)

// Source is a zone file to load.
type Source struct {
	Path string
	Zone record.Name // the apex it must have; empty: whatever SOA it holds
	// Origin is what relative names in it end in before a $ORIGIN: Zone, or what
	// the file is named after.
	Origin record.Name
}

const zoneSuffix = ".zone"

// ParseSources reads what -z and `zone load` take: FILE, ZONE=FILE, or a folder,
// which stands for its *.zone files in the order of their names. All problems
// are reported, not the first alone; the sources without one are returned.
func ParseSources(args []string) ([]Source, error) {
	var out []Source
	var errs []error
	for _, arg := range args {
		sources, err := parseSource(arg)
		out, errs = append(out, sources...), append(errs, err)
	}
	return out, errors.Join(errs...)
}

func parseSource(arg string) ([]Source, error) {
	info, err := os.Stat(arg)
	if zone, path, ok := strings.Cut(arg, "="); err != nil && ok { // a file may have "=" in its name
		apex, nameErr := record.ParseName(zone)
		if nameErr != nil {
			return nil, fmt.Errorf("%q: what stands before \"=\" is %w; for example \"example.com=example.com.zone\"", arg, nameErr)
		}
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
		return []Source{{Path: path, Zone: apex, Origin: apex}}, nil
	}
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return []Source{{Path: arg, Origin: originOf(arg)}}, nil
	}
	entries, err := os.ReadDir(arg) // sorted by name
	if err != nil {
		return nil, err
	}
	var out []Source
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), zoneSuffix) && !e.IsDir() {
			path := filepath.Join(arg, e.Name())
			out = append(out, Source{Path: path, Origin: originOf(path)})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the folder %s holds no *%s file", arg, zoneSuffix)
	}
	return out, nil
}

// originOf is the zone a file is named after, as in example.com.zone.
func originOf(path string) record.Name {
	base, ok := strings.CutSuffix(filepath.Base(path), zoneSuffix)
	if !ok {
		return ""
	}
	name, err := record.ParseName(base)
	if err != nil {
		return ""
	}
	return name
}

// CheckFile reads a zone file whole and says what a load would refuse, and what is
// odd. The error is about the file as such: it cannot be read, or is not the zone it should be.
func CheckFile(src Source, lenient bool) (zonefile.Report, error) {
	r := loadRun{Loader: &Loader{Lenient: lenient}}
	report, err := zonefile.Check(src.Path, r.options(src, false))
	if err != nil || report.Errors() > 0 {
		return report, err
	}
	if err := checkApexes(src, report.Summary); err != nil {
		return report, err
	}
	var w digestWatch
	if _, err := zonefile.ReadFile(src.Path, r.options(src, false), w.take); err != nil {
		return report, err
	}
	found, err := w.digests(src.Path, r.options(src, false), report.Summary)
	for _, f := range found {
		report.Findings = append(report.Findings, zonefile.Finding{Fatal: f.bad && !lenient, File: f.at.File, Line: f.at.Line, Column: f.at.Column, What: f.err.Error()})
	}
	return report, err
}

// ReadSource reads a zone file as a load does, record by record in bounded memory, and
// says why a load would leave it out before anything is proposed.
func ReadSource(src Source, lenient bool) error {
	r := loadRun{Loader: &Loader{Lenient: lenient}}
	var w digestWatch
	sum, err := zonefile.ReadFile(src.Path, r.options(src, false), w.take)
	if err == nil {
		err = checkApexes(src, sum)
	}
	if err == nil {
		err = r.checkDigests(src, &w, sum)
	}
	return err
}
