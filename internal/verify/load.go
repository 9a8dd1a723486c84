package verify

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync"

	"zonebuild/internal/domain"
)

// load reads the file in r: as lines, or as a whole if it is not in line form.
// Faults of the text go to f; an error is one of reading.
func load(r io.ReadSeeker, apex domain.Name, trusted *Trusted, f *faults) (*zone, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	z, err := loadLines(r, size, trusted, f)
	if errors.Is(err, errForm) {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		*f = faults{file: f.file}
		z = new(zone)
		err = loadForeign(r, apex.String(), z, f)
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	z.settle(f)
	return z, nil
}

const (
	bytesPerRecord = 110     // what a record of a signed zone takes; one of an unsigned zone takes less, and more room is made
	shortestLine   = 16      // octets; of shorter ones, more room is made
	partSize       = 4 << 20 // a file of fewer octets is not worth a second core
)

// loadLines reads a file of about size bytes, in parts side by side.
func loadLines(r io.Reader, size int64, trusted *Trusted, f *faults) (*zone, error) {
	at, ok := r.(io.ReaderAt)
	n := min(int64(runtime.GOMAXPROCS(0)), size/partSize)
	if !ok || n < 2 {
		p := &part{recs: make([]rec, 0, min(size, 1<<32)/bytesPerRecord+8), trusted: trusted, faults: faults{file: f.file}}
		err := p.load(r)
		f.merge(&p.faults)
		return &p.zone, err
	}
	cuts := []int64{0}
	for i := int64(1); i < n; i++ {
		cut, err := lineStart(at, max(size*i/n, cuts[i-1]))
		if err != nil {
			return nil, err
		}
		cuts = append(cuts, cut)
	}
	cuts = append(cuts, size)
	// Growing by appending would cost as much memory again, and so would putting
	// the parts together: each has its room in one slice from the beginning.
	room, err := roomFor(at, cuts)
	if err != nil {
		return nil, err
	}
	recs := make([]rec, room[n])
	parts := make([]part, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		parts[i] = part{recs: recs[room[i]:room[i]:room[i+1]], trusted: trusted, faults: faults{file: f.file}}
		wg.Go(func() {
			errs[i] = parts[i].load(io.NewSectionReader(at, cuts[i], cuts[i+1]-cuts[i]))
		})
	}
	wg.Wait()
	z := &parts[0].zone
	if total, moved := sizes(parts, room); moved { // some part outgrew its room: in place, one would overwrite the next
		z.recs = append(make([]rec, 0, total), parts[0].recs...)
	} else {
		z.recs = recs[:len(parts[0].recs)]
	}
	lines := uint32(0)
	for i := range parts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		parts[i].faults.shift(lines)
		f.merge(&parts[i].faults)
		if i > 0 {
			if err := z.join(&parts[i].zone, parts[i].recs, lines); err != nil {
				return nil, err
			}
		}
		lines += parts[i].lines
	}
	return z, nil
}

// sizes is the number of records of all parts, and whether any had more than
// there was room for.
func sizes(parts []part, room []int64) (total int, moved bool) {
	for i := range parts {
		n := len(parts[i].recs)
		total += n
		moved = moved || int64(n) > room[i+1]-room[i]
	}
	return total, moved
}

// lineStart is the beginning of the first line that begins at or behind an
// offset.
func lineStart(r io.ReaderAt, at int64) (int64, error) {
	if at == 0 {
		return 0, nil
	}
	buf := make([]byte, maxLine)
	for at--; ; {
		n, err := r.ReadAt(buf, at)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1, nil
		}
		at += int64(n)
		if err == io.EOF {
			return at, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// roomFor gives where the records of each part between the cuts begin and end, of which
// a line has one. To count the lines takes little of the time to read them.
func roomFor(r io.ReaderAt, cuts []int64) ([]int64, error) {
	n := len(cuts) - 1
	lines, errs := make([]int64, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { lines[i], errs[i] = countLines(r, cuts[i], cuts[i+1]) })
	}
	wg.Wait()
	room := make([]int64, n+1)
	for i := range n {
		room[i+1] = room[i] + min(lines[i]+1, (cuts[i+1]-cuts[i])/shortestLine) // the last one may not end
	}
	return room, errors.Join(errs...)
}

// countLines counts the lines that end between two offsets.
func countLines(r io.ReaderAt, at, end int64) (n int64, err error) {
	buf := make([]byte, maxLine)
	for at < end {
		k, err := r.ReadAt(buf[:min(end-at, maxLine)], at)
		n += int64(bytes.Count(buf[:k], []byte{'\n'}))
		if at += int64(k); err == io.EOF {
			break // it became shorter
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// part is a stretch of whole lines of a file.
type part struct {
	zone
	recs    []rec
	faults  faults // by lines of the part
	lines   uint32
	trusted *Trusted
}

func (p *part) load(r io.Reader) error {
	lines := newLineReader(r)
	p.zone.recs = p.recs
	match := p.trusted.match()
	group := 0 // where the records of the present owner begin
	for {
		rec, err := lines.next()
		switch e := err.(type) {
		case nil:
			if !rec.sameOwner || len(p.zone.recs) == 0 {
				match.settle(p.zone.recs[group:])
				group = len(p.zone.recs)
				match.open(rec.owner)
			}
			rec.known = match.has(lines.text)
			if err := p.zone.add(rec); err != nil {
				return err
			}
		case *lineError:
			p.faults.errorf(lines.line, e.code, nil, "%v", e.err)
		default:
			match.settle(p.zone.recs[group:])
			p.recs, p.lines = p.zone.recs, lines.line-1
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// join appends the records of a later part of the file, which begins behind so
// many lines.
func (z *zone) join(t *zone, recs []rec, lines uint32) error {
	if len(z.data.chunks)+len(t.data.chunks) > maxChunks {
		return errFull
	}
	base := ref(len(z.data.chunks) << chunkBits)
	z.data.chunks = append(z.data.chunks, t.data.chunks...)
	names := t.names
	for i := range names {
		names[i].at += base
	}
	first := uint32(len(z.names)) // number of the part's first name
	if n := len(z.names); n > 0 && len(names) > 0 {
		last, next := z.data.at(z.names[n-1].at, int(z.names[n-1].n)), z.data.at(names[0].at, int(names[0].n))
		switch order := domain.Compare(last, next); {
		case order == 0: // the cut went through an owner
			first--
			names = names[1:]
		case order > 0:
			z.ordered = false
		}
	}
	z.names = append(z.names, names...)
	for _, r := range recs {
		r.name += first
		r.at += base
		r.line += lines
		z.recs = append(z.recs, r)
	}
	z.ordered = z.ordered && (t.ordered || len(t.names) == 0)
	if z.firstSOA == nil {
		z.firstSOA = t.firstSOA
	}
	z.count.rrsig += t.count.rrsig
	z.count.nsec += t.count.nsec
	z.count.nsec3 += t.count.nsec3
	z.count.dnskey += t.count.dnskey
	return nil
}
