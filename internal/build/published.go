package build

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/soa"
	"zonebuild/zone"
)

// published is what the head of a published file says.
type published struct {
	exists         bool
	header         Header
	serial         uint32
	refresh, retry time.Duration // of the SOA
	id             FileID
	err            error // why header and serial are unknown
}

const headBytes = 16 << 10 // header and SOA line fit, whatever the names

// readHead reads the first two lines of a published file: the header and the SOA.
func (t *Tree) readHead(apex domain.Name) published { return readHead(apex, t.PublishedPath(apex)) }

func readHead(apex domain.Name, path string) published {
	p := published{}
	f, _, err := durable.Open(path, 0)
	if err != nil {
		p.err = err
		return p
	}
	defer f.Close()
	p.exists = true
	info, err := f.Stat()
	if err != nil {
		p.err = err
		return p
	}
	p.id = FileID{info.Size(), info.ModTime().UnixNano()}
	head := make([]byte, headBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		p.err = err
		return p
	}
	if p.header, p.err = parseHeader(head[:n]); p.err != nil {
		return p
	}
	z, err := firstRecord(apex, head[headerLen:n])
	if err != nil {
		p.err = err
		return p
	}
	rdata := z.Records().Rdata(z.SOA())
	timer := func(at int) time.Duration {
		return time.Duration(binary.BigEndian.Uint32(rdata[len(rdata)-at:])) * time.Second
	}
	p.serial, p.refresh, p.retry = z.Serial(), timer(16), timer(12)
	return p
}

// serialOf reads the serial from the first record of a file of ours.
func serialOf(apex domain.Name, b []byte) (uint32, error) {
	z, err := firstRecord(apex, b)
	if err != nil {
		return 0, err
	}
	return z.Serial(), nil
}

// firstRecord is a zone of nothing but the first record of a file of ours, the SOA.
func firstRecord(apex domain.Name, b []byte) (*zone.Zone, error) {
	line, _, ok := bytes.Cut(b, []byte{'\n'})
	if !ok {
		return nil, errors.New("the first record is cut short")
	}
	f, faults := zone.Parse("", append(bytes.Clone(line), '\n'), zone.ParseOptions{Apex: apex})
	if !faults.HasErrors() {
		if z, ok := zone.FromRecords(apex, f.Records.Sorted()); ok {
			return z, nil
		}
	}
	return nil, errors.New("the first record is no SOA")
}

// maxPublished bounds a published file, in octets.
const maxPublished = 1<<32 - 1

// readPublished gives a published file whole: as it is held, or read. Errors: it is
// missing, is not ours, or was changed by another hand.
func (t *Tree) readPublished(apex domain.Name, path string) (*dnssec.Previous, [sha256.Size]byte, error) {
	if path == t.PublishedPath(apex) {
		if z, ok := t.holding.recall(apex, path); ok {
			return z.prev, z.input, nil
		}
	}
	data, _, err := durable.ReadFile(path, maxPublished)
	if err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	var h Header
	digest := aside(func() (err error) {
		h, err = checkBody(data)
		return err
	})
	prev, err := dnssec.ReadPrevious(apex, path, data)
	if other := digest(); other != nil { // it says more than the fault that it may have led to
		err = other
	}
	if err != nil {
		return nil, h.Input, fmt.Errorf("read %s: %w", path, err)
	}
	return prev, h.Input, nil
}

func (t *Tree) unsignedPath(apex domain.Name) string {
	return filepath.Join(t.Config.Paths.Unsigned, apex.FileName())
}

// unsignedID tells unsigned/ZONE from one that another hand wrote; it is zero
// when there is none.
func (t *Tree) unsignedID(apex domain.Name) FileID { return fileID(t.unsignedPath(apex)) }

func fileID(path string) FileID {
	of, err := durable.StampOf(path)
	if err != nil {
		return FileID{}
	}
	return FileID(of)
}

// highPath is where a serial is remembered beside unsigned/ZONE, which has that
// of its first build.
func (t *Tree) highPath(apex domain.Name) string {
	return filepath.Join(t.Config.Paths.Unsigned, "."+apex.FileName()+".serial")
}

// rememberSerial notes a serial that the clock does not give back, for the day on
// which both signed/ and state/ are lost.
func (t *Tree) rememberSerial(j *job, serial uint32) error {
	policy := soa.Policy(j.z.Policy.Serial)
	if policy == soa.Keep || policy == soa.UnixTime && int64(serial) <= j.now.Unix() {
		return nil
	}
	return durable.WriteFile(t.highPath(j.z.Name), fmt.Appendf(nil, "%d\n", serial), t.outputMode())
}

// rememberedSerial is the furthest serial that anything but the published file
// and the state knows of: unsigned/ZONE, the note beside it, and what was kept of
// retired zones.
func (t *Tree) rememberedSerial(apex domain.Name) (serial uint32, ok bool) {
	if v, err := SerialOf(apex, t.unsignedPath(apex)); err == nil {
		serial, ok = v, true
	}
	if b, _, err := durable.ReadFile(t.highPath(apex), 64); err == nil {
		if v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err == nil && (!ok || ahead(uint32(v), serial)) {
			serial, ok = uint32(v), true
		}
	}
	entries, err := os.ReadDir(t.retiredDir())
	if err != nil {
		return serial, ok
	}
	for _, e := range entries {
		rest, found := strings.CutPrefix(e.Name(), apex.FileName()+".")
		if v, err := strconv.ParseUint(rest, 10, 32); found && err == nil && (!ok || ahead(uint32(v), serial)) {
			serial, ok = uint32(v), true
		}
	}
	return serial, ok
}

// writeUnsigned writes unsigned/ZONE if its records changed. The serial in it
// is the one with which the records were first built.
func (t *Tree) writeUnsigned(z *zone.Zone) error {
	path := t.unsignedPath(z.Apex())
	if old, _, err := durable.Open(path, 0); err == nil {
		defer old.Close()
		r := bufio.NewReaderSize(old, headBytes)
		if line, err := r.Peek(headBytes); err == nil || errors.Is(err, io.EOF) {
			if serial, err := serialOf(z.Apex(), line); err == nil {
				if same, err := z.WithSerial(serial); err == nil && sameText(same, r) {
					return nil
				}
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := durable.Stage(t.Config.Paths.Unsigned, z.Apex().FileName(), t.outputMode())
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := z.WriteTo(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit(time.Time{})
}

// writeUnsignedAs is writeUnsigned with the serial that is published.
func (t *Tree) writeUnsignedAs(z *zone.Zone, serial uint32) error {
	z, err := z.WithSerial(serial)
	if err != nil {
		return err
	}
	return t.writeUnsigned(z)
}

// sameText reports whether z is written as what r holds.
func sameText(z *zone.Zone, r io.Reader) bool {
	c := &comparer{r: r}
	if _, err := z.WriteTo(c); err != nil {
		return false
	}
	n, err := r.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

var errDiffers = errors.New("differs")

// comparer is a writer that fails at the first byte that r does not have.
type comparer struct {
	r   io.Reader
	buf []byte
}

func (c *comparer) Write(b []byte) (int, error) {
	if cap(c.buf) < len(b) {
		c.buf = make([]byte, len(b))
	}
	n, err := io.ReadFull(c.r, c.buf[:len(b)])
	if err != nil || !bytes.Equal(c.buf[:n], b) {
		return 0, errDiffers
	}
	return len(b), nil
}

// SerialOf reads the serial from the head of a file that this program wrote.
func SerialOf(apex domain.Name, path string) (uint32, error) {
	f, _, err := durable.Open(path, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	head := make([]byte, headBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	head = head[:n]
	if _, err := parseHeader(head); err == nil { // unsigned/ZONE has none unless others sign it
		head = head[headerLen:]
	}
	return serialOf(apex, head)
}
