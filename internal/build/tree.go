// Package build is the pipeline of a zone and of a tree of zones: load, compile,
// plan, sign, stage, verify, publish, confirm, and roll back where the name
// server proves that it could not load what it was given.
//
// A pass over a tree keeps zones apart: a fault, a refusal or a failure of one
// leaves the others alone, and its own last good records stay published and
// signed.
package build

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/sshfp"
)

// Tree is a data tree (docs/tree.md) opened for work.
type Tree struct {
	Config *config.Config
	Extras []Extra

	files treeFS
	keys  *dnssec.KeyDir // listed once per pass

	sourceDirs map[string]*os.File // open for a while, by path; nil: not to be used

	challenges *challenges // read once per pass
	hostKeys   *sshfp.Set  // likewise
	certs      *certificates

	keptMu sync.Mutex
	kept   map[domain.Name]*sources // what soa/ and primary/ held when they were last read; nil = nothing is kept
	held   bool                     // soa/ and primary/ must not be read in this pass
	away   []string                 // parts of Options.Away, likewise
	last   *lastRead                // what they held when they were read last; nil = nothing is kept
	moving func() bool              // whether they have come into other hands since it began; nil = nobody knows

	beside  *Beside  // of the pass; nil = whatever hangs is waited for
	passes  int      // so many were begun
	holding *holding // published zones; nil = none is kept

	cutsMu sync.Mutex
	cuts   map[domain.Name]cuts // delegations in the sources of parents, read once per pass
}

// Open reads the configuration of the tree in dir. The tree is nil when the
// list has an error.
func Open(dir string) (*Tree, diag.List, error) {
	cfg, faults := config.Load(dir)
	if faults.HasErrors() {
		return nil, faults, nil
	}
	t := &Tree{Config: cfg}
	t.Extras = []Extra{t.guests, t.hostKeyGuests, t.certGuests}
	t.files = treeFS{config: cfg, private: t.private}
	if err := t.refresh(); err != nil {
		t.files.close()
		return nil, faults, err
	}
	return t, faults, nil
}

// Close ends the use of a tree.
func (t *Tree) Close() error {
	if t.certs != nil {
		t.certs.close()
	}
	return t.files.close()
}

// refresh forgets what holds for one pass only.
func (t *Tree) refresh() (err error) {
	t.cuts = map[domain.Name]cuts{}
	t.passes++
	t.holding.forget(func(apex domain.Name) bool { return t.Config.Find(apex) != nil })
	if err := t.files.reopen(); err != nil {
		return err
	}
	t.keys, err = dnssec.ScanKeys(t.Config.Paths.Keys)
	return err
}

// Path is where a path of the configuration leads: a relative one begins in the
// tree.
func (t *Tree) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(t.Config.Tree, name)
}

// Program is Path for a program with a slash; any other is looked for on PATH.
func (t *Tree) Program(name string) string {
	if !strings.Contains(name, "/") {
		return name
	}
	return t.Path(name)
}

// makeDirs creates the directories that the program writes to.
func (t *Tree) makeDirs(b *Beside) error {
	for _, dir := range []string{t.Config.Paths.Signed, t.Config.Paths.Unsigned, t.Config.Paths.State, t.lastGoodDir()} {
		made := b.does("make %s", dir)
		err := durable.MkdirAll(dir, 0o755)
		made()
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) outputMode() durable.Options {
	return durable.Options{Mode: t.Config.OutputMode, Group: t.Config.OutputGroup}
}

// stateMode lets others read the state, which holds no secret, and nobody write it.
func (t *Tree) stateMode() durable.Options { return durable.Options{Mode: 0o644} }

// appendKeys appends what tells the key files of a zone from others: digests of
// their public parts and lives, and whether the private part is there.
// Files that fit are read into buf.
func (t *Tree) appendKeys(text []byte, apex domain.Name, buf []byte) []byte {
	for _, f := range t.keys.Files(apex) {
		base := filepath.Join(t.Config.Paths.Keys, f.Base)
		text = append(append(append(text, "key "...), f.Base...), '\n')
		for _, ext := range []string{".key", ".state"} {
			b, err := readSmall(base+ext, buf)
			sum := sha256.Sum256(b)
			text = hex.AppendEncode(append(append(text, ext...), ' '), sum[:])
			text = append(strconv.AppendBool(append(text, ' '), err == nil), '\n')
		}
		id := fileID(base + ".private")
		text = strconv.AppendBool(append(text, "private "...), id != FileID{})
		text = append(strconv.AppendInt(append(text, ' '), id.Size, 10), '\n')
	}
	return text
}

// maxSmall bounds what readSmall reads, in octets.
const maxSmall = 1 << 20

// readSmall is durable.ReadFile, into buf if the file fits.
func readSmall(path string, buf []byte) ([]byte, error) {
	n, of, err := durable.Peek(path, buf)
	if err == nil && int64(n) == of.Size {
		return buf[:n], nil
	}
	b, _, err := durable.ReadFile(path, maxSmall)
	return b, err
}
