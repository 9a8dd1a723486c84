package zone

import (
	"bytes"
	"sort"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// held is the text of a large file that was read without a fault, for ParseAgain.
type held struct {
	src    []byte
	head   int         // no line behind this offset is a directive
	origin domain.Name // there
}

// edit is what became of the records of a fragment.
type edit struct {
	of       *rrset.Set // what they were
	from, to uint32     // their lines in between went, to exclusive
	lines    int        // those behind moved down by so many
	mid      *rrset.Set // came instead, in the order of the file
}

// hold keeps the text of a file for the next reading.
func (r *reader) hold(head int) {
	if r.o.Hold && r.depth == 0 {
		r.parser.held = &held{r.src, head, r.origin}
	}
}

// Holds reports whether a text is the one that the fragment was made of. It is false
// where that is not kept (Options.Hold).
func (f *Fragment) Holds(src []byte) bool { return f.held != nil && bytes.Equal(f.held.src, src) }

// Held reports whether the text is kept.
func (f *Fragment) Held() bool { return f.held != nil }

// ParseAgain is Parse of a file that was read before, as prev, with Options.Hold and
// the same options. Where all that differs are lines behind the last directive, only
// these are read.
func ParseAgain(prev *Fragment, file string, src []byte, o ParseOptions) (f Fragment, same bool) {
	h := prev.held
	if h == nil || prev.Incomplete || prev.Name != file || prev.Records.Patches() >= rrset.MaxPatches {
		return f, false
	}
	if bytes.Equal(h.src, src) {
		f = *prev
		f.edit = nil
		return f, true
	}
	w, ok := prev.differs(src)
	if !ok {
		return f, false
	}
	digest := (&parser{shardMin: shardMin}).digest(src)
	p := &parser{o: o, apex: []byte(o.Apex.Wire()), ttl: prev.TTL}
	r := &reader{
		parser: p, origin: h.origin, shard: true,
		scanner: scanner{name: file, src: src, at: w.begin, lineStart: w.begin, line: int(w.from), faults: &p.faults},
	}
	var err error
	if r.number, err = p.records.AddFile(file); err != nil {
		return f, false
	}
	r.readBefore(w.newEnd)
	if r.spoiled || r.scanner.at != w.newEnd || len(p.faults) > 0 || r.scanner.reread > 0 {
		return f, false
	}
	mid := p.records.Set()
	records, err := prev.Records.Splice(mid, w.lines, rrset.Piece{Lo: w.lo, Hi: w.hi, To: mid.Len()})
	if err != nil {
		return f, false
	}
	f = *prev
	f.Records, f.Files = records, []Source{{file, digest()}}
	f.held = &held{src, h.head, h.origin}
	f.edit = &edit{of: prev.Records, from: w.from, to: w.to, lines: w.lines, mid: mid}
	return f, true
}

// window is what differs between a fragment and another text of it: whole entries
// that begin with an owner, so that nothing in front of them matters to what is
// behind.
type window struct {
	begin, newEnd int    // in the new text
	lo, hi        int    // records of the old one
	from, to      uint32 // their lines; to is behind the last line if they are the last
	lines         int    // by which the lines behind moved
}

// differs finds the window.
func (f *Fragment) differs(src []byte) (w window, ok bool) {
	old := f.held.src
	first, last := commonEnds(old, src)
	s := f.Records
	line := func(at int) uint32 { return uint32(1 + bytes.Count(old[:at], []byte{'\n'})) }

	// The last entry with an owner that begins in what is common.
	firstLine := line(first)
	w.lo = sort.Search(s.Len(), func(i int) bool { return uint32(s.Pos(i).Line) > firstLine }) - 1
	for w.lo >= 0 && s.Pos(w.lo).Column != 1 {
		w.lo--
	}
	if w.lo < 0 {
		return w, false
	}
	w.from = uint32(s.Pos(w.lo).Line)
	w.begin = bytes.LastIndexByte(old[:first], '\n') + 1
	for l := firstLine; l > w.from; l-- {
		w.begin = bytes.LastIndexByte(old[:w.begin-1], '\n') + 1
	}
	if w.begin < f.held.head {
		return w, false
	}

	// The first one that begins in what is common at the end.
	oldEnd := len(old)
	w.hi, w.to = s.Len(), ^uint32(0)
	lastLine := line(len(old) - last)
	hi := sort.Search(s.Len(), func(i int) bool { return uint32(s.Pos(i).Line) > lastLine })
	for hi < s.Len() && s.Pos(hi).Column != 1 {
		hi++
	}
	if hi < s.Len() {
		w.hi, w.to = hi, uint32(s.Pos(hi).Line)
		oldEnd = len(old) - last
		for l := lastLine; l < w.to; l++ {
			oldEnd += bytes.IndexByte(old[oldEnd:], '\n') + 1
		}
	}
	w.newEnd = len(src) - (len(old) - oldEnd)
	if w.hi < w.lo || w.newEnd < w.begin || !areEntries(old, w.begin, oldEnd) {
		return w, false
	}
	w.lines = bytes.Count(src[w.begin:w.newEnd], []byte{'\n'}) - bytes.Count(old[w.begin:oldEnd], []byte{'\n'})
	return w, true
}

// areEntries reports whether a part of a text without faults is whole entries: a line
// that begins with an owner may still stand inside parentheses.
func areEntries(src []byte, begin, end int) bool {
	var faults diag.List
	s := scanner{src: src, at: begin, faults: &faults}
	for s.nextBefore(end) {
	}
	return s.at == end && len(faults) == 0
}

// commonEnds gives how many octets two texts have in common at the beginning, and
// behind these at the end.
func commonEnds(a, b []byte) (first, last int) {
	n := min(len(a), len(b))
	for size := 1 << 16; size > 0; size >>= 4 {
		for first+size <= n && bytes.Equal(a[first:first+size], b[first:first+size]) {
			first += size
		}
	}
	n -= first
	for size := 1 << 16; size > 0; size >>= 4 {
		for last+size <= n && bytes.Equal(a[len(a)-last-size:len(a)-last], b[len(b)-last-size:len(b)-last]) {
			last += size
		}
	}
	return first, last
}
