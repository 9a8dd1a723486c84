package dnssec

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// RRset is the RRset of a name and type in the zone, without its signatures; it
// is empty where there is none. Errors: its lines are not as the compiler reads
// them.
func (p *Previous) RRset(owner domain.Name, typ uint16) (*rrset.Set, error) {
	g, ok := slices.BinarySearchFunc(p.groups, owner, func(at uint32, owner domain.Name) int {
		text, _, _ := cutAt(p.data[at:], '\t')
		wire, _ := domain.AppendText(nil, text, domain.Root) // scan has read it once
		return domain.Compare(wire, []byte(owner.Wire()))
	})
	if !ok {
		return &rrset.Set{}, nil
	}
	return p.parseType(g, typ)
}

// RRsets are all RRsets of a type, in canonical order of their owners. It goes
// over the whole zone. Errors: as those of RRset.
func (p *Previous) RRsets(typ uint16) ([]*rrset.Set, error) {
	var out []*rrset.Set
	last := -1
	for r, g := (lineScanner{data: p.data[:p.end], at: p.groups[0]}), 0; r.next(); {
		for g+1 < len(p.groups) && r.line.from >= p.groups[g+1] {
			g++
		}
		if r.line.typ != typ || g == last {
			continue
		}
		last = g
		set, err := p.parseType(g, typ)
		if err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	return out, nil
}

// parseType parses the lines of a type in a group.
func (p *Previous) parseType(g int, typ uint16) (*rrset.Set, error) {
	end := p.end
	if g+1 < len(p.groups) {
		end = p.groups[g+1]
	}
	var lines []byte
	for r := (lineScanner{data: p.data[:end], at: p.groups[g]}); r.next(); {
		if r.line.typ == typ {
			lines = append(lines, p.data[r.line.from:r.line.to]...)
		}
	}
	f, faults := zone.Parse(p.file, lines, zone.ParseOptions{Apex: p.apex, DNSSEC: true})
	if faults.HasErrors() {
		return nil, fmt.Errorf("read %s: %s", p.file, faults[0])
	}
	return f.Records.Sorted(), nil
}

// Count is the number of records, without signatures, for whose name and type f
// holds.
func (p *Previous) Count(f func(owner []byte, typ uint16) bool) (n int) {
	c := newCursor(p)
	for c.step() {
		c.open()
		for _, l := range c.lines {
			if l.typ != dns.TypeRRSIG && f(c.owner, l.typ) {
				n++
			}
		}
	}
	return n
}
