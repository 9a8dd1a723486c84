package build

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/crypto/blake2b"

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
func writeBody(f *durable.File, body io.WriterTo) error {
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

// verify reads the staged bytes back with the independent verifier, and gives
// the digest of the body. A file with few changes is read into memory: only these
// are verified then.
func (p *pass) verify(j *job, path string, ledger *verify.Ledger, signed bool) ([blake2b.Size256]byte, error) {
	var sum [blake2b.Size256]byte
	mode, err := verify.ParseMode(j.z.Policy.VerifySignatures)
	if err != nil {
		return sum, err
	}
	o := verify.Options{Apex: j.z.Name, Now: j.now, Ledger: ledger, Mode: mode, AllowUnsigned: !signed}
	if signed && j.prevOK {
		o.Trusted = verify.Trust(j.prev.Data())
		data, _, err := durable.ReadFile(path, maxPublished)
		if err != nil {
			return sum, err
		}
		digest := aside(func() error {
			sum = blake2b.Sum256(data[headerLen:])
			return nil
		})
		_, ok := verify.Change(data, o)
		digest()
		if ok {
			return sum, nil
		}
	}
	digest := aside(func() (err error) {
		sum, err = bodyDigest(path)
		return err
	})
	_, faults := verify.File(path, o)
	err = digest()
	if faults.HasErrors() {
		return sum, fmt.Errorf("verify the signed zone: %s", faults[0])
	}
	return sum, err
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
