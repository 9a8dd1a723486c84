package verify

import (
	"bytes"
	"sort"
	"time"

	"zonebuild/internal/domain"
)

// Change verifies a file that differs from the trusted one in few places by these
// places alone: what stayed is compared octet for octet, and of the rest the
// records at each owner that is new or other, and the chain of NSEC records around
// it, are checked as in a whole file. It gives the file as one to be trusted.
//
// false says nothing about the file: it has a fault, or its change is none that can
// be judged apart (keys, denial other than by NSEC, a zone digest, delegations
// that hide or show other names, much). It has to be verified whole then.
//
// That is enough because a record that stayed was right before, and what makes it
// right stayed too: its signature, whose time is looked at again; the key and the
// TTL of negative answers, which are held to be the same; the NSEC of its owner,
// unless the next owner came or went, which is a change around it; and that no
// delegation or DNAME above it came or went.
func Change(data []byte, o Options) (*Trusted, bool) {
	t := o.Trusted
	if t == nil || !t.apart || len(o.DS) > 0 {
		return nil, false
	}
	d := &difference{old: t, new: &Trusted{data: data, apart: true, owners: make([]trustedOwner, 0, len(t.owners)+16)}}
	if !d.find() || !d.sameZone(o.Apex) || !d.new.valid(o) {
		return nil, false
	}
	text, behindGap, closed := d.excerpt()
	f := &faults{}
	z, err := loadLines(bytes.NewReader(text), int64(len(text)), t, f)
	if err != nil {
		return nil, false
	}
	z.settle(f)
	c := newChecker(z, f, o)
	c.nsec.behindGap, c.nsec.open = behindGap, !closed
	c.check()
	return d.new, f.errors+f.warnings == 0
}

// stretch is a change: owners [lo, hi) of the new file stand where others, or
// none, stood in the old one.
type stretch struct{ lo, hi int }

// difference is what distinguishes two files.
type difference struct {
	old, new  *Trusted
	stretches []stretch

	scan   trustScan
	last   []byte   // the owner before in the new file
	shaped [][]byte // owners in the present stretch at which a delegation or DNAME came or went
	wire   []byte   // of the present owner of the old file
}

// maxChanged is the part of the owners that may change, beyond a few; with more
// it is no dearer to read all.
const maxChanged = 8

// find compares the files, owner by owner where they differ. It reports whether
// the new one is a file like the old one, and the change can be judged apart.
func (d *difference) find() bool {
	data := d.new.data
	at := 0
	for at < len(data) && data[at] == ';' {
		n := bytes.IndexByte(data[at:], '\n')
		if n < 0 {
			return false
		}
		at += n + 1
	}
	old := d.old.owners
	changed := 0
	for i := 0; ; {
		kept := d.keep(i, at)
		if kept > 0 {
			if !d.endStretch(i) {
				return false
			}
			shift := uint32(at) - old[i].from
			for _, o := range old[i : i+kept] {
				o.from += shift
				o.to += shift
				d.new.owners = append(d.new.owners, o)
			}
			i += kept
			at = int(d.new.owners[len(d.new.owners)-1].to)
			d.last = d.old.ownerOf(d.last[:0], i-1)
			continue
		}
		if i == len(old) && at == len(data) {
			return d.endStretch(i)
		}
		if changed++; changed > 64+len(old)/maxChanged {
			return false
		}
		var ok bool
		if i, at, ok = d.step(i, at); !ok {
			return false
		}
	}
}

// keep is how many owners from i of the old file stand at an offset of the new one
// as they were.
func (d *difference) keep(i, at int) int {
	old, data := d.old.owners, d.new.data
	if i == len(old) || at == len(data) {
		return 0
	}
	from := int(old[i].from)
	end := from + common(d.old.data[from:], data[at:])
	n := sort.Search(len(old)-i, func(k int) bool { return int(old[i+k].to) > end })
	if n == 0 {
		return 0
	}
	// The last of them may have more lines now.
	o := &old[i+n-1]
	if rest := data[at+int(o.to)-from:]; bytes.HasPrefix(rest, d.old.data[o.from:o.from+uint32(o.text)+1]) {
		n--
	}
	return n
}

// common is the length of the common beginning of a and b.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	at := 0
	for size := 1 << 16; size > 0; size >>= 4 {
		for at+size <= n && bytes.Equal(a[at:at+size], b[at:at+size]) {
			at += size
		}
	}
	return at
}

// step takes the owner that comes first of the two files and is not the same in
// both.
func (d *difference) step(i, at int) (nextOld, nextNew int, ok bool) {
	old := d.old.owners
	order := -1 // the new file's comes first
	if i < len(old) {
		d.wire = d.old.ownerOf(d.wire[:0], i)
	}
	if at == len(d.new.data) {
		order = 1
	} else {
		d.scan = trustScan{data: d.new.data, at: at, owners: d.scan.owners[:0], last: d.scan.last[:0], wire: d.scan.wire}
		if !d.scan.owner() || d.scan.odd {
			return i, at, false
		}
		if i < len(old) {
			order = domain.Compare(d.scan.first, d.wire)
		}
	}
	if n := len(d.new.owners); len(d.stretches) == 0 || d.stretches[len(d.stretches)-1].hi < n {
		d.stretches = append(d.stretches, stretch{n, n})
	}
	if order > 0 {
		d.shape(old[i].has, 0, d.wire)
		return i + 1, at, true
	}
	is := d.scan.owners[0]
	if is.has&hasWhole != 0 || d.last != nil && domain.Compare(d.last, d.scan.first) >= 0 {
		return i, at, false
	}
	was := uint8(0)
	if order == 0 {
		was = old[i].has
		i++
	}
	d.shape(was, is.has, d.scan.first)
	d.last = append(d.last[:0], d.scan.first...)
	d.new.owners = append(d.new.owners, is)
	d.stretches[len(d.stretches)-1].hi++
	return i, int(is.to), true
}

// shape notes owners at which a delegation or a DNAME came or went.
func (d *difference) shape(was, is uint8, owner []byte) {
	if (was^is)&(hasNS|hasDNAME) != 0 {
		d.shaped = append(d.shaped, bytes.Clone(owner))
	}
}

// endStretch ends the present stretch before owner i of the old file, which
// stayed. It must not be below a delegation or DNAME that came or went: names in
// canonical order are together with those below them.
func (d *difference) endStretch(i int) bool {
	if n := len(d.stretches); n > 0 && d.stretches[n-1].hi == len(d.new.owners) {
		if i < len(d.old.owners) {
			d.wire = d.old.ownerOf(d.wire[:0], i)
			for _, owner := range d.shaped {
				if domain.IsWithin(d.wire, owner) {
					return false
				}
			}
		}
	}
	d.shaped = d.shaped[:0]
	return true
}

// sameZone reports whether both files are of one zone, with the same keys and the
// same TTL of negative answers.
func (d *difference) sameZone(apex domain.Name) bool {
	if len(d.new.owners) == 0 {
		return false
	}
	a, b := d.old.ownerOf(nil, 0), d.new.ownerOf(nil, 0)
	if !bytes.Equal(a, b) || !apex.IsZero() && string(a) != apex.Wire() || d.new.owners[0].has&hasNSEC == 0 {
		return false
	}
	was, ok1 := d.old.constants()
	is, ok2 := d.new.constants()
	return ok1 && ok2 && bytes.Equal(was, is)
}

// constants are the lines of the apex, without their signatures, that records at
// other owners depend on.
func (t *Trusted) constants() (out []byte, ok bool) {
	o := t.owners[0]
	for rest := t.data[o.from:o.to]; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		f := bytes.SplitN(line, []byte{'\t'}, 5)
		if len(f) < 5 {
			return nil, false
		}
		switch string(f[3]) {
		case "SOA":
			words := bytes.Fields(f[4])
			if ok = len(words) == 7; !ok {
				return nil, false
			}
			out = append(append(append(append(out, f[1]...), ' '), words[6]...), '\n')
		case "DNSKEY", "DNAME":
			out = append(append(out, line...), '\n')
		}
	}
	return out, ok
}

// valid reports whether all signatures are, by the clock.
func (t *Trusted) valid(o Options) bool {
	now := uint32(o.Now.Unix())
	least := int32(o.MinLeft / time.Second)
	for i := range t.owners {
		w := &t.owners[i]
		if w.has&hasSigs != 0 && (int32(w.expires-now) < least || int32(now-w.begins) < 0) {
			return false
		}
	}
	return true
}

// excerpt is what has to be read of the new file: the apex, and each change from
// the owner with an NSEC before it to that behind it. behindGap are the owners
// before which something was left out; closed, whether nothing was at the end.
func (d *difference) excerpt() (text []byte, behindGap map[string]bool, closed bool) {
	t := d.new
	behindGap = map[string]bool{}
	done := 0
	take := func(lo, hi int) {
		if lo < hi {
			text = append(text, t.data[t.owners[lo].from:t.owners[hi-1].to]...)
			done = hi
		}
	}
	take(0, 1)
	for k, s := range d.stretches {
		lo := max(s.lo-1, 0)
		for lo > done && t.owners[lo].has&hasNSEC == 0 {
			lo--
		}
		if lo > done {
			behindGap[string(t.ownerOf(nil, lo))] = true
		}
		take(max(lo, done), max(s.hi, done))
		end := len(t.owners)
		if k+1 < len(d.stretches) {
			end = d.stretches[k+1].lo
		}
		hi := max(s.hi, done)
		for hi < end && t.owners[hi].has&hasNSEC == 0 {
			hi++
		}
		take(done, min(hi+1, end))
	}
	return text, behindGap, done == len(t.owners)
}
