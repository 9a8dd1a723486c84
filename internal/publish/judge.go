package publish

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/blake2b"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/verify"
	"zonebuild/soa"
)

// present is what is known of the zone file that a new one would replace.
type present struct {
	file    bool // there is one, or was
	lost    bool // it is gone or damaged
	good    bool // there is a last good copy, and nothing newer was installed
	read    bool // serial and signed are known
	serial  uint32
	signed  bool
	content string // digest
}

// present reads serial and signedness of a file; of one that cannot be read as
// a zone any more, those of the last good copy.
func (p *puller) present(apex domain.Name, data []byte, exists bool) present {
	h := present{file: exists}
	if exists && checkWhole(data) == nil && h.look(apex, data) {
		h.content = digest(data)
		return h
	}
	h.lost = true
	if good, err := p.readGood(apex); err == nil {
		h.file, h.good = true, h.look(apex, good)
		h.content = digest(good)
	}
	if was, ok := p.readSeen(apex); ok {
		h.file, h.signed = true, h.signed || was.Signed
		if c, ok := soa.Compare(was.Serial, h.serial); !h.read || ok && c > 0 {
			h.read, h.good, h.serial, h.content = true, false, was.Serial, was.Digest
		}
	}
	return h
}

// look takes the file for its own proof, so that no signature is computed.
func (h *present) look(apex domain.Name, data []byte) bool {
	r, _ := verify.Bytes("", data, verify.Options{Apex: apex, Trusted: verify.Trust(data), AllowUnsigned: true})
	h.read = r.Serial != 0 || r.RRsets > 0
	h.serial, h.signed = r.Serial, r.Signed
	return h.read
}

// judge says why a staged file must not replace the present one; it gives the
// serial of one that may.
func (p *puller) judge(apex domain.Name, path string, data []byte, had present) (serial uint32, signed bool, err error) {
	if err := checkWhole(data); err != nil {
		return 0, false, err
	}
	r, faults := verify.File(path, verify.Options{Apex: apex, Now: p.Now, AllowUnsigned: true})
	if faults.HasErrors() {
		d := faults[0]
		d.Pos.File = apex.FileName() // the staged name is not what anybody looks for
		return 0, false, fmt.Errorf("verify the offered file: %s", d)
	}
	if !r.Signed && had.file && (had.signed || !had.read) && !slices.Contains(p.Unsigned, apex) {
		return 0, false, fmt.Errorf("the offered file is unsigned, the present one is signed (if that is meant: zonebuild publish --unsigned %s)", apex)
	}
	if had.read {
		if had.lost && r.Serial == had.serial && digest(data) == had.content {
			return r.Serial, r.Signed, nil // what was there comes back
		}
		if c, ok := soa.Compare(r.Serial, had.serial); !ok || c <= 0 {
			return 0, false, fmt.Errorf("serial %d of the offered file is not ahead of the present %d", r.Serial, had.serial)
		}
		return r.Serial, r.Signed, nil
	}
	// Without a file to compare with, the server's memory has to do.
	if served, err := p.served(apex); err == nil {
		if c, ok := soa.Compare(r.Serial, served); !ok || c < 0 {
			return 0, false, fmt.Errorf("serial %d of the offered file is behind the served %d", r.Serial, served)
		}
	}
	return r.Serial, r.Signed, nil
}

// checkWhole compares a file with the digest that the builder's first line
// has. It matters for unsigned zones: nothing else tells one that was cut at
// the end of a line.
func checkWhole(data []byte) error {
	line, body, ok := bytes.Cut(data, []byte{'\n'})
	if !ok || !bytes.HasPrefix(line, []byte("; zonebuild 1 ")) {
		return nil // another program's
	}
	_, rest, ok := bytes.Cut(line, []byte(" body="))
	want, _, _ := bytes.Cut(rest, []byte{' '})
	if !ok || string(want) != digest(body) {
		return errors.New("the offered file is not as its first line says: it is cut short or was changed")
	}
	return nil
}

func digest(data []byte) string {
	sum := blake2b.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// served is the serial that the server answers now. A server that did not
// answer once is not waited for again.
func (p *puller) served(apex domain.Name) (uint32, error) {
	if p.silent {
		return 0, ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(p.ctx, pullAsk)
	defer cancel()
	s, err := p.Server.Serial(ctx, apex)
	p.silent = errors.Is(err, ErrUnreachable)
	return s.Serial, err
}

// keepServed makes the present file the last good one if it is served by now:
// it may have been in place, but not confirmed, since the last run.
func (p *puller) keepServed(apex domain.Name, had present) {
	if good, err := p.readGood(apex); !had.read || had.content == "" || err == nil && digest(good) == had.content {
		return
	}
	if serial, err := p.served(apex); err != nil && !errors.Is(err, ErrNoServer) || err == nil && serial != had.serial {
		return
	}
	// Without it a failed load could not be undone, but nothing has failed yet.
	_ = durable.Copy(p.filePath(apex), p.goodPath(apex))
}
