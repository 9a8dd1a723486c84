package zonebuild_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// codesIn finds the codes of faults, alarms and guards in the source: string
// literals among the first three arguments of the functions that report, and
// the Code of what is built by hand.
func codesIn(t *testing.T) map[string]bool {
	t.Helper()
	report := map[string]bool{
		"Errorf": true, "Warnf": true, "errorf": true, "warnf": true, "fault": true,
		"raise": true, "fail": true, "hold": true, "extra": true, "bitmap": true,
	}
	built := map[string]bool{"Alarm": true, "Fault": true, "Guard": true, "Diagnostic": true}
	code := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	found := map[string]bool{}
	literal := func(e ast.Expr) {
		l, ok := e.(*ast.BasicLit)
		if !ok || l.Kind != token.STRING {
			return
		}
		if s, err := strconv.Unquote(l.Value); err == nil && code.MatchString(s) {
			found[s] = true
		}
	}
	fset := token.NewFileSet()
	for _, dir := range []string{"cmd", "internal", "zone", "soa", "primary", "dnsextra", "tlsa", "sshfp"} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/lab/") {
				return err
			}
			f, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					name := ""
					switch f := n.Fun.(type) {
					case *ast.SelectorExpr:
						name = f.Sel.Name
						if x, ok := f.X.(*ast.Ident); ok && x.Name == "fmt" {
							return true
						}
					case *ast.Ident:
						name = f.Name
					}
					if report[name] {
						for _, a := range n.Args[:min(3, len(n.Args))] {
							literal(a)
						}
					}
				case *ast.CompositeLit:
					kind := ""
					switch x := n.Type.(type) {
					case *ast.Ident:
						kind = x.Name
					case *ast.SelectorExpr:
						kind = x.Sel.Name
					case *ast.ArrayType:
						if x, ok := x.Elt.(*ast.Ident); ok && built[x.Name] {
							for _, e := range n.Elts {
								if c, ok := e.(*ast.CompositeLit); ok && len(c.Elts) > 0 {
									literal(c.Elts[0])
								}
							}
						}
					}
					if built[kind] {
						for _, e := range n.Elts {
							if kv, ok := e.(*ast.KeyValueExpr); ok {
								if id, ok := kv.Key.(*ast.Ident); ok && id.Name == "Code" {
									literal(kv.Value)
								}
								continue
							}
							literal(e)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestCodesAreDocumented: every code has its line in docs/, and every line a
// code that the source has.
func TestCodesAreDocumented(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|")
	documented := map[string]bool{}
	for _, doc := range []string{"docs/diagnostics.md", "docs/guards.md"} {
		for _, m := range row.FindAllStringSubmatch(read(t, doc), -1) {
			documented[m[1]] = true
		}
	}
	source := codesIn(t)
	if len(source) < 50 {
		t.Fatalf("only %d codes were found in the source", len(source))
	}
	for _, code := range slices.Sorted(maps.Keys(source)) {
		if !documented[code] {
			t.Errorf("%s has no row in docs/diagnostics.md or docs/guards.md", code)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(documented)) {
		if !source[code] {
			t.Errorf("docs/ has a row for %s, which the source does not report", code)
		}
	}
}

// TestKeysAreDocumented: every key of the configuration has its row in
// docs/config.md, and every row a key.
func TestKeysAreDocumented(t *testing.T) {
	fset := token.NewFileSet()
	source := map[string]bool{}
	files, err := filepath.Glob("internal/config/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool { // []key{{"name", reader}, ...}
			list, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			array, ok := list.Type.(*ast.ArrayType)
			if !ok {
				return true
			}
			if id, ok := array.Elt.(*ast.Ident); !ok || id.Name != "key" {
				return true
			}
			for _, e := range list.Elts {
				if c, ok := e.(*ast.CompositeLit); ok {
					if l, ok := c.Elts[0].(*ast.BasicLit); ok {
						name, _ := strconv.Unquote(l.Value)
						source[name] = true
					}
				}
			}
			return true
		})
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|").FindAllStringSubmatch(read(t, "docs/config.md"), -1) {
		documented[m[1]] = true
	}
	if len(source) < 30 {
		t.Fatalf("only %d keys were found in the source", len(source))
	}
	for _, key := range slices.Sorted(maps.Keys(source)) {
		if !documented[key] {
			t.Errorf("%s has no row in docs/config.md", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(documented)) {
		if !source[key] {
			t.Errorf("docs/config.md has a row for %s, which is no key", key)
		}
	}
}

// TestLinks: what README.md and docs/ point to is there.
func TestLinks(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, file := range append(files, "README.md") {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
