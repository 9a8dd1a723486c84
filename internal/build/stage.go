package build

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/crypto/blake2b"

	"zonebuild/internal/diag"
	"zonebuild/internal/durable"
	"zonebuild/internal/verify"
)

// aside runs f beside what follows; the function it returns waits for its end.
func aside(f func() error) (wait func() error) {
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = f()
	}()
	return sync.OnceValue(func() error {
		<-done
		return err
	})
}

// writeBody writes a published file but for its header, which holds the digest of
// the body: a comment of that length keeps the room.
func writeBody(f io.Writer, body io.WriterTo) error {
	room := bytes.Repeat([]byte{';'}, headerLen)
	room[headerLen-1] = '\n'
	if _, err := f.Write(room); err != nil {
		return err
	}
	_, err := body.WriteTo(f)
	return err
}

func writeHeader(f *durable.File, h Header) error {
	_, err := f.WriteAt([]byte(h.String()), 0)
	return err
}

// verified is a staged file that was read back.
type verified struct {
	body    [blake2b.Size256]byte // its digest
	data    []byte                // all of it, if it was read into memory
	trusted *verify.Trusted       // that, as the verifier has it, if it knows
}

// verify reads the staged bytes back with the independent verifier. Those of back were
// read into memory already; of what follows another file, only the change is verified
// if it can be.
func (p *pass) verify(j *job, path string, back *readBehind, ledger *verify.Ledger, signed bool) (v verified, err error) {
	o := verify.Options{Apex: j.z.Name, Now: j.now, Ledger: ledger, AllowUnsigned: !signed, Progress: p.progress(j, StageVerify)}
	if o.Mode, err = verify.ParseMode(j.z.Policy.VerifySignatures); err != nil {
		return v, err
	}
	var faults diag.List
	if back != nil {
		if v.data, v.body, err = back.end(); err != nil {
			return v, err
		}
		if o.Trusted = j.trusted; o.Trusted == nil && j.prevOK {
			o.Trusted = verify.Trust(j.prev.Data())
		}
		var ok bool
		if v.trusted, ok = verify.Change(v.data, o); ok {
			return v, nil
		}
		v.trusted = nil
		_, faults = verify.Bytes(path, v.data, o)
	} else {
		digest := aside(func() (err error) {
			v.body, err = bodyDigest(path)
			return err
		})
		_, faults = verify.File(path, o)
		err = digest()
	}
	if faults.HasErrors() {
		return v, fmt.Errorf("verify the signed zone: %s", faults[0])
	}
	return v, err
}

func bodyDigest(path string) (sum [blake2b.Size256]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	if _, err := f.Seek(int64(headerLen), io.SeekStart); err != nil {
		return sum, err
	}
	h, err := blake2b.New256(nil)
	if err != nil {
		return sum, err
	}
	if _, err := io.CopyBuffer(h, f, make([]byte, 256<<10)); err != nil {
		return sum, fmt.Errorf("read %s: %w", path, err)
	}
	return [blake2b.Size256]byte(h.Sum(nil)), nil
}
