// Package diag holds what a compiler says about its input: faults with a
// place, a stable code and, where two places are at odds, the other place too.
//
// Every reader of the project returns a List instead of the first error, so
// that one run shows all that is wrong with a tree.
package diag

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Pos is a place in an input file. Line and Column count from 1; 0 means
// unknown, and a Pos without a File is no place at all.
type Pos struct {
	File   string
	Line   int
	Column int // in bytes
}

// IsValid reports whether p names at least a file.
func (p Pos) IsValid() bool { return p.File != "" }

// String gives file:line:column, file:line, file or "-", as far as p is known.
func (p Pos) String() string {
	switch {
	case p.File == "":
		return "-"
	case p.Line == 0:
		return Escape(p.File)
	case p.Column == 0:
		return Escape(p.File) + ":" + strconv.Itoa(p.Line)
	}
	return Escape(p.File) + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Severity says whether a fault stops the zone it is about.
type Severity uint8

const (
	Error   Severity = iota // the zone's new content is refused
	Warning                 // the content is used, or only a guest's part is dropped
)

// String gives "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText makes the severity a word in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Severity) UnmarshalText(text []byte) error {
	switch string(text) {
	case "error":
		*s = Error
	case "warning":
		*s = Warning
	default:
		return fmt.Errorf("unknown severity %q", text)
	}
	return nil
}

// Related is a second place that a fault is about.
type Related struct {
	Pos     Pos
	Message string
}

// Diagnostic is one fault.
type Diagnostic struct {
	Pos      Pos
	Severity Severity
	Code     string // stable, listed in docs/diagnostics.md
	Owner    string // owner name or other subject, in presentation format; may be empty
	Message  string
	Related  []Related
}

// String prints d as a compiler does:
//
//	primary/example.org:14:1: www.example.org.: CNAME and other data [cname-other-data] (other data at primary/example.org:9:1)
func (d Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.Pos.String())
	b.WriteString(": ")
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	if d.Owner != "" {
		b.WriteString(d.Owner)
		b.WriteString(": ")
	}
	b.WriteString(d.Message)
	b.WriteString(" [")
	b.WriteString(d.Code)
	b.WriteString("]")
	for _, r := range d.Related {
		fmt.Fprintf(&b, " (%s at %s)", r.Message, r.Pos)
	}
	return b.String()
}

type jsonPos struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

type jsonRelated struct {
	jsonPos
	Message string `json:"message"`
}

type jsonDiagnostic struct {
	jsonPos
	Severity Severity      `json:"severity"`
	Code     string        `json:"code"`
	Owner    string        `json:"owner,omitempty"`
	Message  string        `json:"message"`
	Related  []jsonRelated `json:"related,omitempty"`
}

// MarshalJSON gives a flat object; its field names are stable.
func (d Diagnostic) MarshalJSON() ([]byte, error) {
	j := jsonDiagnostic{jsonPos(d.Pos), d.Severity, d.Code, d.Owner, d.Message, nil}
	for _, r := range d.Related {
		j.Related = append(j.Related, jsonRelated{jsonPos(r.Pos), r.Message})
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Diagnostic) UnmarshalJSON(b []byte) error {
	var j jsonDiagnostic
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*d = Diagnostic{Pos: Pos(j.jsonPos), Severity: j.Severity, Code: j.Code, Owner: j.Owner, Message: j.Message}
	for _, r := range j.Related {
		d.Related = append(d.Related, Related{Pos(r.jsonPos), r.Message})
	}
	return nil
}

// List is a set of faults. The zero value is empty and ready to use.
type List []Diagnostic

// Errorf adds an error.
func (l *List) Errorf(pos Pos, code, owner, format string, args ...any) *Diagnostic {
	return l.add(Error, pos, code, owner, fmt.Sprintf(format, args...))
}

// Warnf adds a warning.
func (l *List) Warnf(pos Pos, code, owner, format string, args ...any) *Diagnostic {
	return l.add(Warning, pos, code, owner, fmt.Sprintf(format, args...))
}

func (l *List) add(s Severity, pos Pos, code, owner, message string) *Diagnostic {
	*l = append(*l, Diagnostic{Pos: pos, Severity: s, Code: code, Owner: owner, Message: message})
	return &(*l)[len(*l)-1]
}

// At adds a related place and gives d back, so that it can follow Errorf.
func (d *Diagnostic) At(pos Pos, message string) *Diagnostic {
	d.Related = append(d.Related, Related{pos, message})
	return d
}

// HasErrors reports whether any fault of l is an error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sort orders l by file, line, column and code, and drops exact repetitions.
func (l *List) Sort() {
	slices.SortStableFunc(*l, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Owner, b.Owner),
			cmp.Compare(a.Message, b.Message),
		)
	})
	*l = slices.CompactFunc(*l, func(a, b Diagnostic) bool { return a.String() == b.String() })
}

// Escape makes s fit for one line of a terminal or a log: control bytes and
// bytes that are not UTF-8 are written as \xNN, so hostile input can neither
// forge a line nor move the cursor.
func Escape(s string) string {
	q := strconv.Quote(s)
	q = q[1 : len(q)-1]
	return strings.ReplaceAll(strings.ReplaceAll(q, `\"`, `"`), `\\`, `\`)
}
