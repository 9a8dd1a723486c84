package dnssec

import (
	"bufio"
	"io"
	"runtime"

	"github.com/miekg/dns"

	"zonebuild/internal/verify"
	"zonebuild/zone"
)

// batch is how many RRsets a worker takes at a time: enough to make the
// hand-over cheap, few enough to keep the cores evenly busy to the end.
const batch = 64

// stretch is a batch of RRsets on its way through a worker: its text, in pieces.
type stretch struct {
	n      int // its number
	lo, hi int // items
	scratch
	text   []byte
	pieces []piece
	sizes  []uint32 // of the items; unused unless they are wanted
	err    error
}

// piece is a part of a stretch's own text or of the previous file.
type piece struct {
	kept   bool
	lo, hi uint32
}

// WriteTo makes the signatures and writes the signed zone as a master file: owners
// in canonical order, the SOA first, behind each RRset its signatures. What stays
// as it was is copied from the previous file, in pieces as long as they come.
// Signing and rendering go on on all cores, in front of what is being written.
func (s *Signed) WriteTo(w io.Writer) (int64, error) {
	s.ledger = verify.NewLedger(s.New)
	if s.plan.policy.ZoneMD != 0 {
		if err := s.setDigest(); err != nil {
			return 0, err
		}
	}
	out := &pieceWriter{to: bufio.NewWriterSize(w, 256<<10)}
	if s.plan.prev != nil {
		out.kept = s.plan.prev.data
	}
	err := s.each(func(st *stretch) error {
		s.ledger.Add(st.marks...)
		if s.Progress != nil {
			s.Progress(s.ledger.Len(), s.New)
		}
		s.note(st.sizes)
		return out.write(st)
	})
	if err == nil {
		err = out.flush()
	}
	if err == nil {
		err = out.to.Flush()
	}
	return out.n, err
}

// note remembers where the next items end.
func (s *Signed) note(sizes []uint32) {
	if s.ends == nil {
		return
	}
	end := uint32(0)
	if n := len(s.ends); n > 0 {
		end = s.ends[n-1]
	}
	for _, size := range sizes {
		end += size
		s.ends = append(s.ends, end)
	}
}

// each renders all items, on all cores, and gives the stretches to f in order.
func (s *Signed) each(f func(*stretch) error) error {
	n := (len(s.plan.items) + batch - 1) / batch
	return inTurns(max(1, min(runtime.GOMAXPROCS(0), n)), n, s.render, f)
}

// render makes the text of a stretch.
func (s *Signed) render(st *stretch) {
	st.lo, st.hi = st.n*batch, min((st.n+1)*batch, len(s.plan.items))
	st.text, st.pieces, st.marks, st.sizes, st.err = st.text[:0], st.pieces[:0], st.marks[:0], st.sizes[:0], nil
	for i := st.lo; i < st.hi; i++ {
		if s.plan.spans != nil {
			if at := s.plan.spans[i]; at.from < at.to {
				st.add(piece{true, at.from, at.to})
				st.sizes = append(st.sizes, at.to-at.from)
				continue
			}
		}
		from := uint32(len(st.text))
		if st.err = s.renderItem(st, s.plan.items[i]); st.err != nil {
			return
		}
		st.add(piece{false, from, uint32(len(st.text))})
		st.sizes = append(st.sizes, uint32(len(st.text))-from)
	}
}

// add puts a piece behind the others, as one where they meet.
func (st *stretch) add(p piece) {
	if n := len(st.pieces); n > 0 && st.pieces[n-1].kept == p.kept && st.pieces[n-1].hi == p.lo {
		st.pieces[n-1].hi = p.hi
		return
	}
	st.pieces = append(st.pieces, p)
}

// renderItem appends the lines of an RRset and of its signatures.
func (s *Signed) renderItem(st *stretch, it item) error {
	p, set := s.plan, s.set(it)
	for i := int(it.lo); i < int(it.hi); i++ {
		st.text = zone.AppendRecordOf(st.text, set, i)
	}
	if it.slot < 0 {
		return nil
	}
	ttl, _ := set.TTL(int(it.lo))
	for j, k := range p.signers(it) {
		slot := int(it.slot) + j
		if kept := p.slots[slot]; kept != unkept {
			l := p.prev.lineAt(kept)
			st.text = append(st.text, p.prev.data[l.from:l.to]...)
			continue
		}
		rdata, err := s.rrsig(it, slot, &p.keys[k], &st.scratch)
		if err != nil {
			return err
		}
		st.text = zone.AppendRecord(st.text, set.Owner(int(it.lo)), ttl, dns.TypeRRSIG, rdata)
	}
	return nil
}

// rrsig is the rdata of a new signature.
func (s *Signed) rrsig(it item, slot int, k *Key, buf *scratch) ([]byte, error) {
	if s.sigs == nil {
		return s.sign(it, k, buf)
	}
	buf.rdata = s.appendRRSIGHead(buf.rdata[:0], it, k)
	at := s.where[slot]
	buf.rdata = append(buf.rdata, s.sigs[at:at+uint32(signatureSize(k))]...)
	return buf.rdata, nil
}

// pieceWriter writes stretches; pieces of the previous file that meet over their
// ends become one.
type pieceWriter struct {
	to   *bufio.Writer
	kept []byte // the previous file
	run  piece
	n    int64
}

func (w *pieceWriter) write(st *stretch) error {
	for _, p := range st.pieces {
		if p.kept && p.lo == w.run.hi && w.run.lo < w.run.hi {
			w.run.hi = p.hi
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
		if p.kept {
			w.run = p
			continue
		}
		if err := w.text(st.text[p.lo:p.hi]); err != nil {
			return err
		}
	}
	return nil
}

func (w *pieceWriter) flush() error {
	run := w.run
	w.run = piece{}
	return w.text(w.kept[run.lo:run.hi])
}

func (w *pieceWriter) text(b []byte) error {
	n, err := w.to.Write(b)
	w.n += int64(n)
	return err
}
