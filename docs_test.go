package zonebuild_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/guard"
)

// reported is what the source says of one code.
type reported struct {
	formats           []string // of its messages, as far as they stand in the call
	errors, warnings  bool
	rooms             map[string]bool // that warn of it
	elsewhere, hidden bool            // reported by other means than a diagnostic; with a message that is made elsewhere
}

// codesIn finds the codes of faults, alarms and guards in the source: string
// literals among the first three arguments of the functions that report, the Code
// of what is built by hand, and the constants Alarm....
func codesIn(t *testing.T) map[string]*reported {
	t.Helper()
	report := map[string]bool{
		"Errorf": true, "Warnf": true, "errorf": true, "warnf": true, "fault": true,
		"raise": true, "fail": true, "alarm": true, "hold": true, "extra": true, "bitmap": true,
	}
	prints := map[string]bool{"Errorf": true, "Warnf": true, "errorf": true, "warnf": true, "fault": true}
	built := map[string]bool{"Alarm": true, "Fault": true, "Guard": true, "Diagnostic": true}
	code := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	found := map[string]*reported{}
	literal := func(e ast.Expr) *reported {
		s, ok := stringLiteral(e)
		if !ok || !code.MatchString(s) {
			return nil
		}
		if found[s] == nil {
			found[s] = &reported{rooms: map[string]bool{}}
		}
		return found[s]
	}
	room := ""
	call := func(name string, args []ast.Expr) {
		for i, a := range args[:min(3, len(args))] {
			r := literal(a)
			switch {
			case r == nil:
				continue
			case !prints[name]:
				r.elsewhere = true
				return
			case strings.EqualFold(name, "warnf"):
				r.warnings, r.rooms[room] = true, true
			default:
				r.errors = true
			}
			for _, a := range args[i+1:] {
				if s, ok := stringLiteral(a); ok && s != "" {
					r.formats = append(r.formats, s)
					return
				}
			}
			r.hidden = true
			return
		}
	}
	for _, s := range sources(t) {
		if s.room == "internal/lab" {
			continue
		}
		room = s.room
		for _, f := range s.files {
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
						call(name, n.Args)
					}
				case *ast.ValueSpec:
					for i, name := range n.Names {
						if strings.HasPrefix(name.Name, "Alarm") && i < len(n.Values) {
							if r := literal(n.Values[i]); r != nil {
								r.elsewhere = true
							}
						}
					}
				case *ast.CompositeLit:
					for _, e := range codeFields(n, built) {
						if r := literal(e); r != nil {
							r.elsewhere = true
						}
					}
				}
				return true
			})
		}
	}
	return found
}

// codeFields are the values in a literal that may be codes.
func codeFields(n *ast.CompositeLit, built map[string]bool) (out []ast.Expr) {
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
					out = append(out, c.Elts[0])
				}
			}
		}
	}
	if !built[kind] {
		return out
	}
	for _, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if id, ok := kv.Key.(*ast.Ident); ok && id.Name == "Code" {
				out = append(out, kv.Value)
			}
			continue
		}
		out = append(out, e)
	}
	return out
}

func stringLiteral(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// TestCodesAreDocumented: every code has its row in docs/, and every row a code
// that the source has.
func TestCodesAreDocumented(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, doc := range []string{"docs/diagnostics.md", "docs/guards.md"} {
		for _, r := range rowsOf(t, doc) {
			if seen[r.section+r.name] {
				t.Errorf("%s: a second row for %s", doc, r.name)
			}
			seen[r.section+r.name], documented[r.name] = true, true
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
		if source[code] == nil {
			t.Errorf("docs/ has a row for %s, which the source does not report", code)
		}
	}
}

// TestAlarmsHaveAnAnswer: for each alarm docs/operations.md says what to do.
func TestAlarmsHaveAnAnswer(t *testing.T) {
	var alarms, answers []string
	for _, r := range rowsOf(t, "docs/diagnostics.md") {
		if r.section == "Alarms" {
			alarms = append(alarms, r.name)
		}
	}
	for _, r := range rowsOf(t, "docs/operations.md") {
		answers = append(answers, r.name)
	}
	slices.Sort(alarms)
	if slices.Sort(answers); len(alarms) < 15 || !slices.Equal(alarms, answers) {
		t.Errorf("alarms\n%q\nanswers\n%q", alarms, answers)
	}
}

// TestWarningsCanBeAccepted: `accept` takes the warnings of the compiler, and no
// others.
func TestWarningsCanBeAccepted(t *testing.T) {
	var want []string
	for code, r := range codesIn(t) {
		if r.rooms["zone"] || r.rooms["soa"] || r.rooms["primary"] {
			want = append(want, code)
		}
	}
	slices.Sort(want)
	if got := config.Warnings(); !slices.Equal(got, want) {
		t.Errorf("can be accepted: %q\nthe compiler warns of: %q", got, want)
	}
}

// TestExamplesOfFaults: each code has an example of what the program says, not
// of what it once said.
func TestExamplesOfFaults(t *testing.T) {
	source := codesIn(t)
	for _, r := range rowsOf(t, "docs/diagnostics.md") {
		example := strings.Trim(r.cells["example"], "`")
		if example == "" || example == r.cells["example"] {
			t.Errorf("%s: no example", r.name)
			continue
		}
		s := source[r.name]
		if s == nil {
			continue // that is another test's business
		}
		said, isWarning := strings.CutPrefix(example, "warning: ")
		if only := !s.elsewhere && !s.hidden; only && (isWarning && !s.warnings || !isWarning && !s.errors) {
			t.Errorf("%s: the example has not the severity of the source", r.name)
		}
		fits := func(format string) bool { return patternOf(format).MatchString(said) }
		if len(s.formats) > 0 && !s.hidden && !s.elsewhere && !slices.ContainsFunc(s.formats, fits) {
			t.Errorf("%s: the source never says %q, but %q", r.name, said, s.formats)
		}
	}
}

// patternOf is what a format can give, behind an owner name and a colon.
func patternOf(format string) *regexp.Regexp {
	var b strings.Builder
	verb := regexp.MustCompile(`%(\[\d+\])?[#0-9]*[a-zA-Z]|%%`)
	at := 0
	for _, m := range verb.FindAllStringIndex(format, -1) {
		b.WriteString(regexp.QuoteMeta(format[at:m[0]]))
		if at = m[1]; format[m[0]:m[1]] == "%%" {
			b.WriteByte('%')
		} else {
			b.WriteString(".+")
		}
	}
	b.WriteString(regexp.QuoteMeta(format[at:]))
	return regexp.MustCompile(`^(\S+\.: )?` + b.String() + `$`)
}

// TestGuardsAreDocumented: the table of guards is that of the source, in its
// order, with its overrides.
func TestGuardsAreDocumented(t *testing.T) {
	rows := rowsOf(t, "docs/guards.md")
	if len(rows) != len(guard.Table()) {
		t.Fatalf("%d rows for %d guards", len(rows), len(guard.Table()))
	}
	for i, g := range guard.Table() {
		if r := rows[i]; r.name != g.Code || strings.Contains(r.cells["override"], "approve") != g.Override {
			t.Errorf("row %d is of %s, override %q; the guard is %s, override %t", i+1, r.name, r.cells["override"], g.Code, g.Override)
		}
	}
}

// row is one row of a table whose first cell is a word in code type.
type row struct {
	section string // the heading above it
	name    string
	cells   map[string]string // by the heads of the columns
}

func rowsOf(t *testing.T, doc string) (out []row) {
	t.Helper()
	name := regexp.MustCompile("^`([a-z0-9-]+)`$")
	section := ""
	var heads []string
	for line := range strings.Lines(read(t, doc)) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "## "); ok {
			section = text
		}
		if !strings.HasPrefix(line, "|") {
			heads = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if heads == nil {
			heads = cells
			continue
		}
		if len(cells) != len(heads) {
			t.Errorf("%s: %d cells under %d heads: %s", doc, len(cells), len(heads), line)
			continue
		}
		if m := name.FindStringSubmatch(cells[0]); m != nil {
			r := row{section, m[1], map[string]string{}}
			for i, c := range cells {
				r.cells[heads[i]] = c
			}
			out = append(out, r)
		}
	}
	return out
}

// tablesOfKeys says which function lists the keys of which table of
// docs/config.md.
func tablesOfKeys() map[string]string {
	return map[string]string{
		"rootKeys": "Above all tables", "policyKeys": "[policy]", "zoneKeys": "[[zone]]", "publishKeys": "[publish]",
		"pathKeys": "[paths]", "sourceKeys": "[source.NAME]", "dropBoxKeys": "[[drop-box]]", "tlsaKeys": "[tlsa]", "sshfpKeys": "[sshfp]", "hookKeys": "acmehook.toml",
		"accountKeys": "[account]", "lineKeys": "[line.NAME]", "serviceKeys": "[service.NAME]",
	}
}

// TestKeysAreDocumented: every key of the configuration has its row in the
// table of its section, and every row a key.
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
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			for _, key := range keysIn(fn) {
				section := tablesOfKeys()[fn.Name.Name]
				if section == "" {
					t.Fatalf("%s lists keys: of which section of docs/config.md?", fn.Name.Name)
				}
				source[section+" "+key] = true
			}
		}
	}
	if len(source) < 30 {
		t.Fatalf("only %d keys were found in the source", len(source))
	}
	documented := map[string]bool{}
	for _, r := range rowsOf(t, "docs/config.md") {
		documented[r.section+" "+r.name] = true
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

// keysIn are the names in a function's []key{{"name", reader}, ...}.
func keysIn(fn *ast.FuncDecl) (out []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
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
				if name, ok := stringLiteral(c.Elts[0]); ok {
					out = append(out, name)
				}
			}
		}
		return true
	})
	return out
}

// TestDefaultsAndBounds: a default that docs/config.md gives as a value is the
// one that holds without the key, and the program refuses what is beyond the
// bounds, with these bounds.
func TestDefaultsAndBounds(t *testing.T) {
	value := regexp.MustCompile("^`([^`]+)`$")
	bounds := regexp.MustCompile(`^(\d\S*) to (\d[^\s;]*)`)
	tried := 0
	for _, r := range rowsOf(t, "docs/config.md") {
		before, after := setting(r)
		if m := value.FindStringSubmatch(r.cells["default"]); m != nil && !strings.HasPrefix(m[1], "[") && !strings.Contains(m[1], "/ZONE") {
			without, _ := loadConfig(t, r.section, before+after)
			with, faults := loadConfig(t, r.section, before+r.name+" = "+m[1]+"\n"+after)
			if len(faults) > 0 || !reflect.DeepEqual(without, with) {
				t.Errorf("%s %s: %s is not the default\n%v", r.section, r.name, m[1], faults)
			}
			tried++
		}
		m := bounds.FindStringSubmatch(r.cells["bounds"])
		if m == nil {
			continue
		}
		tried++
		beyond := `"9000w"`
		want := fmt.Sprintf("must be from %s to %s", inDays(m[1]), inDays(m[2]))
		if _, err := strconv.Atoi(m[1]); err == nil {
			beyond, want = "1000000000", fmt.Sprintf("must be a whole number from %s to %s", m[1], m[2])
		}
		_, faults := loadConfig(t, r.section, before+r.name+" = "+beyond+"\n"+after)
		if !slices.ContainsFunc(faults, func(d diag.Diagnostic) bool { return strings.HasSuffix(d.Message, want) }) {
			t.Errorf("%s %s: %v\nbut in docs/config.md %s", r.section, r.name, faults, want)
		}
	}
	if tried < 40 {
		t.Errorf("only %d values were tried", tried)
	}
}

// inDays writes a time as the program does, which counts in days.
func inDays(s string) string {
	d, err := config.ParseDuration(s)
	if err != nil {
		return s
	}
	return config.FormatDuration(d)
}

// setting is what stands around a key in a file.
func setting(r row) (before, after string) {
	switch r.section {
	case "Above all tables", "acmehook.toml":
		return "", ""
	case "[policy]":
		return "[policy]\n", ""
	case "[[zone]]":
		return "[[zone]]\n", "names = [\"example.org\"]\n"
	case "[publish]":
		if strings.HasPrefix(r.cells["for"], "nsd") {
			return "[publish]\nserver = \"nsd\"\n", ""
		}
	case "[source.NAME]":
		return "[source.soa]\n", ""
	case "[[drop-box]]":
		return "[[drop-box]]\n", "path = \"box\"\n"
	case "[line.NAME]":
		if r.name == "names" {
			return "[line.mail]\n", ""
		}
		return "[line.mail]\n", "names = [\"example.org\"]\n"
	case "[service.NAME]":
		before = "[service.web]\n"
		if r.name != "host" {
			after += "host = \"www.example.org\"\n"
		}
		if r.name != "port" {
			after += "port = 443\n"
		}
		return before, after
	}
	return r.section + "\n", ""
}

// loadConfig loads a text as the configuration of a section, in a tree with a
// list of zones.
func loadConfig(t *testing.T, section, text string) (any, diag.List) {
	t.Helper()
	t.Chdir(t.TempDir()) // the same name for each
	file := config.File
	if slices.Contains([]string{"acmehook.toml", "[account]", "[line.NAME]", "[service.NAME]"}, section) {
		file = config.HookFile
	}
	for name, text := range map[string]string{file: text, "parked/zones": "parked.example\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if file == config.HookFile {
		return config.LoadHook(".")
	}
	c, faults := config.Load(".")
	c.Given = false // with the key that is tried, or without
	return c, faults
}

// TestExamplesOfConfiguration: what docs/config.md and docs/acme.md show is accepted.
func TestExamplesOfConfiguration(t *testing.T) {
	n := 0
	for file, all := range map[string]string{"config.md": read(t, "docs/config.md"), "acme.md": read(t, "docs/acme.md")} {
		section, text, inside := "acmehook.toml", "", false
		for line := range strings.Lines(all) {
			switch {
			case strings.HasPrefix(line, "## ") && file == "config.md":
				section = strings.TrimSpace(line[3:])
			case strings.HasPrefix(line, "```toml"):
				inside, text = true, ""
			case inside && strings.HasPrefix(line, "```"):
				inside = false
				if _, faults := loadConfig(t, section, text); len(faults) > 0 {
					t.Errorf("%s: an example of %s: %v\n%s", file, section, faults, text)
				}
				n++
			case inside:
				text += line
			}
		}
	}
	if n < len(tablesOfKeys())+1 {
		t.Errorf("%d examples for %d tables", n, len(tablesOfKeys()))
	}
}

// TestLinks: what README.md and docs/ point to is there, headings too.
func TestLinks(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]*)?\)`)
	for _, file := range append(files, "README.md") {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			target := file
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if m[2] != "" && !anchors(t, target)[m[2][1:]] {
				t.Errorf("%s: there is no heading %s in %s", file, m[2], target)
			}
		}
	}
}

// anchors are the names that a reader of Markdown gives to the headings.
func anchors(t *testing.T, file string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(read(t, file), -1) {
		out[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(m[1]))] = true
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
