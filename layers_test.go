// Package zonebuild_test holds the rules of the house that no compiler knows:
// which package may import which, who may run commands, flush files to the disk
// or read the clock, and that no package keeps state of its own.
package zonebuild_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "zonebuild"

// floors is the house. Imports go down only; a package that is not here fails
// the test, so that a new room gets its floor in the open.
func floors() map[string]int {
	table := [][]string{
		0: {"internal/diag", "internal/domain", "internal/durable", "internal/config", "internal/cli", "internal/lab"},
		1: {"zone", "internal/rrset"},
		2: {"soa", "primary", "dnsextra", "sshfp", "tlsa", "internal/verify", "internal/authority", "internal/validate", "internal/starttls"},
		3: {"internal/dnssec", "internal/guard"},
		4: {"internal/publish", "internal/nsd", "internal/dane", "internal/acmeclient"},
		5: {"internal/build", "internal/watch", "internal/lines", "internal/daemon"},
		6: {"cmd/zonebuild", "cmd/acmehook", "scripts/bench"},
	}
	floor := map[string]int{}
	for n, rooms := range table {
		for _, room := range rooms {
			floor[room] = n
		}
	}
	return floor
}

// sameFloor lists the imports between two rooms of one floor that are meant.
func sameFloor() map[string][]string {
	return map[string][]string{
		"internal/cli":      {"internal/diag"},
		"internal/config":   {"internal/diag", "internal/domain", "internal/durable"},
		"internal/lab":      {"internal/diag", "internal/domain"},
		"zone":              {"internal/rrset"},
		"internal/nsd":      {"internal/publish"},                 // it meets publish's Server
		"internal/validate": {"internal/authority"},               // it asks through it
		"internal/daemon":   {"internal/build", "internal/watch"}, // it joins them
	}
}

// only says who may import what; everybody else may not. internal/lab starts
// real servers, and only tests import it.
func only() map[string][]string {
	return map[string][]string{
		"github.com/urfave/cli/v2":      {"cmd/zonebuild", "cmd/acmehook"},
		"github.com/fsnotify/fsnotify":  {"internal/watch"},
		"os/exec":                       {"internal/nsd", "internal/publish", "internal/lines", "internal/lab", "scripts/bench"},
		module + "/internal/lab":        {},
		"github.com/prometheus":         {"internal/daemon"},
		"math/rand":                     {"internal/lab", "scripts/bench"}, // the same input gives the same bytes
		"github.com/letsencrypt/pebble": {"internal/lab"},
	}
}

// never lists what a room may not hold in its whole closure.
func never() map[string][]string {
	return map[string][]string{
		// It holds the account at the CA and must never come near a zone's keys.
		"cmd/acmehook": {"internal/dnssec", "internal/publish", "internal/nsd"},
		// It judges what those two made.
		"internal/verify": {"zone", "internal/dnssec"},
	}
}

// clock lists who may read the clock; everybody else is given the time.
func clock() []string {
	return []string{
		"cmd/zonebuild", "cmd/acmehook", "internal/watch", "internal/acmeclient", "internal/dane", "internal/publish",
		"internal/nsd", "internal/lab", "internal/durable", "internal/daemon", "internal/cli", "internal/authority",
		"scripts/bench",
	}
}

type listed struct {
	ImportPath string
	Name       string
	Imports    []string
	Deps       []string
	Standard   bool
}

// TestFloors reads what the go command knows of the module's packages.
func TestFloors(t *testing.T) {
	floor := floors()
	for _, p := range list(t) {
		room, ours := roomOf(p.ImportPath)
		if !ours {
			continue
		}
		n, known := floor[room]
		if !known {
			t.Errorf("%s has no floor: give it one in the table of layers_test.go", room)
			continue
		}
		for _, imported := range p.Imports {
			other, ours := roomOf(imported)
			if !ours || floor[other] < n || slices.Contains(sameFloor()[room], other) {
				continue
			}
			t.Errorf("%s (floor %d) imports %s (floor %d)", room, n, other, floor[other])
		}
		for _, banned := range never()[room] {
			if slices.Contains(p.Deps, module+"/"+banned) {
				t.Errorf("%s depends on %s", room, banned)
			}
		}
	}
}

// roomOf gives the path inside the module; the root holds tests only.
func roomOf(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, module+"/")
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-buildvcs=false", "-deps", "-json=ImportPath,Name,Imports,Deps,Standard", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run go list: %v", err)
	}
	var ps []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			if len(ps) == 0 {
				t.Fatal("go list named no package")
			}
			return ps
		case err != nil:
			t.Fatalf("read go list: %v", err)
		}
		if !p.Standard {
			ps = append(ps, p)
		}
	}
}

// source is one room's Go files for all systems, tests excluded.
type source struct {
	room  string
	fset  *token.FileSet
	files []*ast.File
	names []string
}

// sources parses the tree itself: go list leaves out the files of other systems.
func sources(t *testing.T) []*source {
	t.Helper()
	byDir := map[string]*source{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		room := filepath.ToSlash(filepath.Dir(name))
		s := byDir[room]
		if s == nil {
			s = &source{room: room, fset: token.NewFileSet()}
			byDir[room] = s
		}
		f, err := parser.ParseFile(s.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s.files, s.names = append(s.files, f), append(s.names, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(byDir) == 0 {
		t.Fatal("no source found")
	}
	var all []*source
	for _, s := range byDir {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *source) int { return strings.Compare(a.room, b.room) })
	return all
}

func (s *source) at(n ast.Node) token.Position { return s.fset.Position(n.Pos()) }

func TestWhoImportsWhat(t *testing.T) {
	rules := only()
	for _, s := range sources(t) {
		for _, f := range s.files {
			for _, spec := range f.Imports {
				imported := unquote(spec.Path)
				for banned, allowed := range rules {
					if imported != banned && !strings.HasPrefix(imported, banned+"/") || slices.Contains(allowed, s.room) {
						continue
					}
					t.Errorf("%s: %s must not import %s", s.at(spec), s.room, imported)
				}
			}
		}
	}
}

func unquote(lit *ast.BasicLit) string {
	s, _ := strconv.Unquote(lit.Value) // the parser has read it
	return s
}

// TestCallsWithAHome: the clock, and the making of durable files.
func TestCallsWithAHome(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range s.files {
			timeName := importedAs(f, "time")
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, _ := sel.X.(*ast.Ident)
				switch name := sel.Sel.Name; {
				case x != nil && x.Name == timeName && slices.Contains([]string{"Now", "Since", "Until"}, name):
					if !slices.Contains(clock(), s.room) {
						t.Errorf("%s: %s reads the clock; it must be given the time", s.at(sel), s.room)
					}
				case slices.Contains([]string{"Rename", "Renameat", "Renameat2", "Sync", "Fsync", "Fdatasync"}, name):
					if s.room != "internal/durable" && (x == nil || x.Name != "durable") {
						t.Errorf("%s: %s calls %s; only internal/durable does", s.at(sel), s.room, name)
					}
				}
				return true
			})
		}
	}
}

// importedAs is the name that a file uses for a package, or "".
func importedAs(f *ast.File, importPath string) string {
	for _, spec := range f.Imports {
		if unquote(spec.Path) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

func TestNoDrawers(t *testing.T) {
	for _, s := range sources(t) {
		name := s.files[0].Name.Name
		if name == "main" {
			name = path.Base(s.room)
		}
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "types", "models"}, name) {
			t.Errorf("%s: a package is named for what it holds, not %q", s.room, name)
		}
	}
}
