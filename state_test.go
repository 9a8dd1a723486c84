package zonebuild_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"testing"
)

func TestNoInitAndNoState(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range s.files {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: func init", s.at(fn))
				}
			}
		}
		checkState(s, func(n ast.Node, name, what string) {
			t.Errorf("%s: package-level variable %s %s", s.at(n), name, what)
		})
	}
}

// checkState calls fault for each package-level variable that can change:
// tables, sentinels, compiled expressions and embedded files are never assigned.
func checkState(s *source, fault func(n ast.Node, name, what string)) {
	info := &types.Info{
		Defs:       map[*ast.Ident]types.Object{},
		Uses:       map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	// Imports are not resolved: which variable a name means is all that is asked.
	conf := types.Config{Error: func(error) {}, FakeImportC: true}
	pkg, _ := conf.Check(s.room, s.fset, s.files, info)

	variable := func(e ast.Expr) (*ast.Ident, bool) {
		id := root(e)
		if id == nil {
			return nil, false
		}
		v, ok := info.Uses[id].(*types.Var)
		return id, ok && v.Parent() == pkg.Scope()
	}
	changed := func(e ast.Expr, what string) {
		if id, ok := variable(e); ok {
			fault(id, id.Name, what)
		}
	}
	for _, f := range s.files {
		for _, d := range f.Decls {
			if gen, ok := d.(*ast.GenDecl); ok && gen.Tok == token.VAR {
				for _, spec := range gen.Specs {
					if name, is := stateful(spec.(*ast.ValueSpec)); is {
						fault(spec, name, "holds state")
					}
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, e := range n.Lhs {
					changed(e, "is assigned")
				}
			case *ast.IncDecStmt:
				changed(n.X, "is assigned")
			case *ast.RangeStmt:
				changed(n.Key, "is assigned")
				changed(n.Value, "is assigned")
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					changed(n.X, "has its address taken")
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
					changed(n.Args[0], "is emptied")
				}
			case *ast.SelectorExpr:
				if sel := info.Selections[n]; sel != nil && sel.Kind() == types.MethodVal && pointerMethod(sel) {
					changed(n.X, "has a method that may change it called")
				}
			}
			return true
		})
	}
}

// root is the variable that an expression reads or changes a part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.ParenExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func pointerMethod(sel *types.Selection) bool {
	sig, ok := sel.Obj().Type().(*types.Signature)
	if !ok || sig.Recv() == nil {
		return false
	}
	_, pointer := sig.Recv().Type().(*types.Pointer)
	_, already := sel.Recv().(*types.Pointer)
	return pointer && !already
}

// stateful finds what is made to change: locks, pools, counters, buffers.
func stateful(spec *ast.ValueSpec) (name string, is bool) {
	for _, e := range append([]ast.Expr{spec.Type}, spec.Values...) {
		if u, ok := e.(*ast.UnaryExpr); ok {
			e = u.X
		}
		if c, ok := e.(*ast.CompositeLit); ok {
			e = c.Type
		}
		if ix, ok := e.(*ast.IndexExpr); ok {
			e = ix.X
		}
		if sel, ok := e.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"sync", "atomic", "bytes", "bufio", "strings"}, x.Name) {
				return spec.Names[0].Name, true
			}
		}
		if _, ok := e.(*ast.ChanType); ok {
			return spec.Names[0].Name, true
		}
	}
	return "", false
}

func TestStateIsFound(t *testing.T) {
	tests := []struct {
		name, src string
		found     int
	}{
		{"a table", "var t = map[string]int{}; func f() int { return t[`a`] }", 0},
		{"a sentinel", "import `errors`; var ErrX = errors.New(`x`)", 0},
		{"an embedded file", "import _ `embed`; //go:embed x\nvar x string", 0},
		{"set by the linker", "var version string; func f() string { return version }", 0},
		{"a local of the same name", "var x int; func f() { x := 1; x++; x = 2; _ = &x }", 0},
		{"a field of the same name", "var x int; type t struct{ x int }; func (v *t) f() { v.x = 1 }", 0},
		{"a value method", "type t int; func (t) f() {}; var v t; func g() { v.f() }", 0},
		{"a pointer method on a pointer", "type t int; func (*t) f() {}; func g(v *t) { v.f() }", 0},
		{"assigned", "var x int; func f() { x = 1 }", 1},
		{"counted", "var x int; func f() { x++ }", 1},
		{"ranged over", "var x int; func f() { for x = range 3 {} }", 1},
		{"an element", "var t = map[string]int{}; func f() { t[`a`] = 1 }", 1},
		{"a field", "var t struct{ a struct{ b int } }; func f() { t.a.b += 1 }", 1},
		{"deleted from", "var t = map[string]int{}; func f() { delete(t, `a`) }", 1},
		{"address taken", "var x int; func f() *int { return &x }", 1},
		{"a pointer method", "type t int; func (*t) f() {}; var v t; func g() { v.f() }", 1},
		{"a lock", "import `sync`; var mu sync.Mutex", 1},
		{"a pool", "import `sync`; var pool = sync.Pool{}", 1},
		{"a pool by pointer", "import `sync`; var pool = &sync.Pool{}", 1},
		{"an atomic", "import `sync/atomic`; var p atomic.Pointer[int]", 1},
		{"a channel", "var c chan int", 1},
	}
	for _, tt := range tests {
		s := &source{room: "p", fset: token.NewFileSet()}
		f, err := parser.ParseFile(s.fset, "p.go", "package p; "+tt.src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		s.files = []*ast.File{f}
		found := 0
		checkState(s, func(ast.Node, string, string) { found++ })
		if found != tt.found {
			t.Errorf("%s: %d faults, want %d", tt.name, found, tt.found)
		}
	}
}
