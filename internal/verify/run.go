package verify

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
)

// blockSize is how many signatures a worker takes at a time.
const blockSize = 64

// tally is what a block of signatures came to.
type tally struct {
	verified, byLedger, trusted int
	faults                      faults
}

// checkSignatures settles each collected signature: by the trusted file, by
// the ledger, or by a public-key operation.
func (c *checker) checkSignatures() {
	oneIn := c.options.Ledger.oneIn(c.options.Mode)
	blocks := make([]tally, (len(c.jobs)+blockSize-1)/blockSize)
	var done atomic.Int64
	parallel(len(blocks), func() func(int) {
		var buf []byte
		return func(b int) {
			t := &blocks[b]
			t.faults.file = c.file
			end := min((b+1)*blockSize, len(c.jobs))
			for i := b * blockSize; i < end; i++ {
				buf = c.checkJob(c.jobs[i], c.isTrusted(c.jobs[i]), oneIn, buf, t)
			}
			if c.options.Progress != nil {
				c.options.Progress(int(done.Add(int64(end-b*blockSize))), len(c.jobs))
			}
		}
	})
	// In the order of the blocks, so that the report is the same in each run.
	for i := range blocks {
		t := &blocks[i]
		c.report.Verified += t.verified
		c.report.ByLedger += t.byLedger
		c.report.Trusted += t.trusted
		c.merge(&t.faults)
	}
}

// checkJob checks one signature. It returns buf, its scratch room.
func (c *checker) checkJob(j job, trusted bool, oneIn uint64, buf []byte, t *tally) []byte {
	if trusted {
		t.trusted++
		return buf
	}
	name := c.owner(int(j.lo))
	s := parseSig(c.rdata(int(j.sig)))
	buf = c.signedData(buf[:0], name, j, s)
	if ledger := c.options.Ledger; ledger != nil && !bytes.Equal(name, c.apex) {
		if !isChosen(buf, oneIn) && ledger.Has(ledger.MarkOf(buf, s.signature)) {
			t.byLedger++
			return buf
		}
	}
	var room [maxColliding]uint16
	known := false
	for _, k := range c.keysFor(room[:0], s) {
		key := &c.keys[k]
		if key.err != nil {
			continue // said at the key
		}
		known = true
		t.verified++
		if key.public.verify(buf, s.signature) {
			return buf
		}
	}
	if known {
		t.faults.errorf(c.recs[j.sig].line, "rrsig-bad", name, "signature of %s by key %d is bad", typeText(s.covered), s.tag)
	}
	return buf
}

// signedData appends what the signature is made of (RFC 4034 §3.1.8.1). The
// labels field was found right, so the owner is that of the file.
func (c *checker) signedData(dst, name []byte, j job, s sig) []byte {
	dst = append(dst, s.prefix...)
	for i := int(j.lo); i < int(j.hi); i++ {
		dst = c.canonicalRecord(dst, name, i, s.originalTTL)
	}
	return dst
}

// canonicalRecord appends a record in canonical wire form (RFC 4034 §6.2).
func (c *checker) canonicalRecord(dst, name []byte, i int, ttl uint32) []byte {
	r := &c.recs[i]
	dst = append(dst, name...)
	dst = binary.BigEndian.AppendUint16(dst, r.typ)
	dst = append(dst, 0, 1)
	dst = binary.BigEndian.AppendUint32(dst, ttl)
	dst = binary.BigEndian.AppendUint16(dst, r.rdlen)
	return append(dst, c.rdata(i)...)
}

// parallel calls a function for 0 to n-1 from one worker per core; newWorker
// makes the function of each.
func parallel(n int, newWorker func() func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			work := newWorker()
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				work(i)
			}
		})
	}
	wg.Wait()
}
