package verify

import (
	"strconv"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// A zone that is broken throughout must stay readable: so many are shown, of
// the rest only the number.
const (
	maxErrors   = 100
	maxWarnings = 20
)

// faults collects diagnostics about one file.
type faults struct {
	file             string
	list             diag.List
	errors, warnings int // all, also those not kept
}

func (f *faults) pos(line uint32) diag.Pos { return diag.Pos{File: f.file, Line: int(line)} }

// errorf adds an error at a line of the file; line 0 is the whole file.
func (f *faults) errorf(line uint32, code string, owner []byte, format string, args ...any) *diag.Diagnostic {
	f.errors++
	if f.errors > maxErrors {
		return new(diag.Diagnostic)
	}
	return f.list.Errorf(f.pos(line), code, nameText(owner), format, args...)
}

func (f *faults) warnf(line uint32, code string, owner []byte, format string, args ...any) *diag.Diagnostic {
	f.warnings++
	if f.warnings > maxWarnings {
		return new(diag.Diagnostic)
	}
	return f.list.Warnf(f.pos(line), code, nameText(owner), format, args...)
}

// shift moves the faults by so many lines.
func (f *faults) shift(lines uint32) {
	if lines == 0 {
		return
	}
	for i := range f.list {
		if d := &f.list[i]; d.Pos.Line > 0 {
			d.Pos.Line += int(lines)
		}
	}
}

// merge adds the faults of g after those of f, as if they had been found in
// this order by one collector.
func (f *faults) merge(g *faults) {
	kept, keptWarnings := 0, 0
	for _, d := range g.list {
		if d.Severity == diag.Error {
			kept++
			if f.errors+kept > maxErrors {
				continue
			}
		} else {
			keptWarnings++
			if f.warnings+keptWarnings > maxWarnings {
				continue
			}
		}
		f.list = append(f.list, d)
	}
	f.errors += g.errors
	f.warnings += g.warnings
}

// done gives the faults in the order of the file, the number of those that
// are not shown at the end.
func (f *faults) done() diag.List {
	f.list.Sort()
	if n := f.errors - maxErrors; n > 0 {
		f.list.Errorf(diag.Pos{File: f.file}, "more-faults", "", "%d more errors", n)
	}
	if n := f.warnings - maxWarnings; n > 0 {
		f.list.Warnf(diag.Pos{File: f.file}, "more-faults", "", "%d more warnings", n)
	}
	return f.list
}

// nameText is the presentation format of a wire name; nil is no name.
func nameText(wire []byte) string {
	if wire == nil {
		return ""
	}
	return string(domain.AppendPresentation(nil, wire))
}

// typeText is the mnemonic of a type or TYPEnnn (RFC 3597 §5).
func typeText(t uint16) string {
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// algorithmText is the number of an algorithm with its mnemonic, if any.
func algorithmText(a uint8) string {
	s := strconv.Itoa(int(a))
	if m, ok := dns.AlgorithmToString[a]; ok {
		return s + " (" + m + ")"
	}
	return s
}
