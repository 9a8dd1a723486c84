package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/blake2b"
)

// Header is the first line of a published file:
//
//	; zonebuild 1 input=SHA-256 body=BLAKE2b-256 next=RFC3339
//
// It says what the file was made of, what its other lines are, and when the
// first signature falls due. Its length is fixed, so that it can be written
// last.
type Header struct {
	Input [sha256.Size]byte     // digest of all that the file was made of
	Body  [blake2b.Size256]byte // digest of all lines behind this one
	Next  time.Time             // zero for an unsigned zone: never
}

const (
	headerPrefix = "; zonebuild 1 input="
	headerBody   = " body="
	headerNext   = " next="
	headerTime   = "2006-01-02T15:04:05Z"
	headerNever  = "9999-12-31T23:59:59Z"
	headerLen    = len(headerPrefix) + 2*sha256.Size + len(headerBody) + 2*blake2b.Size256 + len(headerNext) + len(headerTime) + 1
)

var errNoHeader = errors.New("the first line is no header of this program")

// String is the line with its newline.
func (h Header) String() string {
	next := headerNever
	if !h.Next.IsZero() {
		next = h.Next.UTC().Format(headerTime)
	}
	return fmt.Sprintf("%s%x%s%x%s%s\n", headerPrefix, h.Input, headerBody, h.Body, headerNext, next)
}

// parseHeader reads the first line of b.
func parseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < headerLen || b[headerLen-1] != '\n' {
		return h, errNoHeader
	}
	rest, ok := bytes.CutPrefix(b[:headerLen-1], []byte(headerPrefix))
	if !ok {
		return h, errNoHeader
	}
	if _, err := hex.Decode(h.Input[:], rest[:2*sha256.Size]); err != nil {
		return h, errNoHeader
	}
	if rest, ok = bytes.CutPrefix(rest[2*sha256.Size:], []byte(headerBody)); !ok {
		return h, errNoHeader
	}
	if _, err := hex.Decode(h.Body[:], rest[:2*blake2b.Size256]); err != nil {
		return h, errNoHeader
	}
	if rest, ok = bytes.CutPrefix(rest[2*blake2b.Size256:], []byte(headerNext)); !ok {
		return h, errNoHeader
	}
	if string(rest) == headerNever {
		return h, nil
	}
	var err error
	if h.Next, err = time.Parse(headerTime, string(rest)); err != nil {
		return h, errNoHeader
	}
	return h, nil
}

// checkBody reports whether data is a whole published file: its header, and a
// body that has the digest that the header says.
func checkBody(data []byte) (Header, error) {
	h, err := parseHeader(data)
	if err != nil {
		return h, err
	}
	if body, err := sumBody(data[headerLen:]); err != nil || body != h.Body {
		return h, errors.New("the body is not what was written: another hand changed it")
	}
	return h, nil
}

// sumChunk is how much is digested at a time, in octets: while that goes on, the other
// cores must stand still for the garbage collector.
const sumChunk = 256 << 10

// sumBody is the digest of what stands behind a header.
func sumBody(b []byte) (sum [blake2b.Size256]byte, err error) {
	h, err := blake2b.New256(nil)
	if err != nil {
		return sum, err
	}
	for len(b) > 0 {
		n := min(len(b), sumChunk)
		h.Write(b[:n])
		b = b[n:]
	}
	return [blake2b.Size256]byte(h.Sum(nil)), nil
}
