package build

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/crypto/blake2b"
)

// readBehind reads a file back while it is being written, and digests it: when the
// last octet was written, nearly all is done.
type readBehind struct {
	io.Writer // of the file

	mu      sync.Mutex
	more    *sync.Cond
	written int64
	ended   bool

	data []byte
	hash hash.Hash
	wait func() error
}

// newReadBehind reads the file at path, which w writes, from its beginning. About so
// many octets are expected. end has to be called.
func newReadBehind(w io.Writer, path string, expect int) (*readBehind, error) {
	r := &readBehind{Writer: w}
	r.more = sync.NewCond(&r.mu)
	var err error
	if r.hash, err = blake2b.New256(nil); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r.data = make([]byte, 0, expect)
	r.wait = aside(func() error {
		defer f.Close()
		return r.read(f)
	})
	return r, nil
}

// Write passes b on, in pieces: a zone that stayed comes as a whole.
func (r *readBehind) Write(b []byte) (n int, err error) {
	for err == nil && len(b) > 0 {
		var k int
		k, err = r.Writer.Write(b[:min(len(b), behindChunk)])
		n, b = n+k, b[k:]
		r.mu.Lock()
		r.written += int64(k)
		r.mu.Unlock()
		r.more.Signal()
	}
	return n, err
}

// end waits until all that was written is read. It gives the file and the digest of
// what stands behind its header.
func (r *readBehind) end() (data []byte, body [blake2b.Size256]byte, err error) {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.more.Signal()
	if err := r.wait(); err != nil {
		return nil, body, fmt.Errorf("read what was written: %w", err)
	}
	return r.data, [blake2b.Size256]byte(r.hash.Sum(nil)), nil
}

// behindChunk is how much is read and digested at a time, in octets.
const behindChunk = sumChunk

func (r *readBehind) read(f *os.File) error {
	for {
		r.mu.Lock()
		for !r.ended && r.written < int64(len(r.data))+behindChunk {
			r.more.Wait()
		}
		n := int(min(r.written-int64(len(r.data)), behindChunk))
		r.mu.Unlock()
		if n == 0 {
			return nil
		}
		at := len(r.data)
		r.data = slices.Grow(r.data, n)[:at+n] // not cleared: it is read into
		if _, err := io.ReadFull(f, r.data[at:]); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				err = errors.New("it is shorter than it was written")
			}
			return err
		}
		if at < headerLen {
			at = min(headerLen, len(r.data))
		}
		r.hash.Write(r.data[at:])
	}
}
