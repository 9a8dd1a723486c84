package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/primary"
	"zonebuild/zone"
)

// Extra gives the generated and guest fragments of a zone: challenges, TLSA,
// SSHFP. host are its hand-written fragments. Without them only the Files of
// the result are wanted, and these are the same with them.
type Extra func(apex domain.Name, host []zone.Fragment) ([]zone.Fragment, diag.List)

// sources is what a zone is made of, read and parsed.
type sources struct {
	fragments    []zone.Fragment
	faults       diag.List
	input        [sha256.Size]byte
	hostRecords  int  // records of soa/ and primary/
	primaryEmpty bool // primary/ is there but holds no record
	absent       bool // nothing of them may be read now, and nothing is kept
	pass         int  // in which they were looked at last
}

// loadSources reads and parses all fragments of a zone.
func (t *Tree) loadSources(z *config.Zone) *sources {
	s := t.hostSources(z)
	if s.absent {
		return s
	}
	if z.Policy.DSFromChild {
		s.fragments = append(s.fragments, t.childDS(z, s.fragments))
	}
	host := s.fragments
	for _, extra := range t.Extras {
		guests, faults := extra(z.Name, host)
		s.fragments, s.faults = append(s.fragments, guests...), append(s.faults, faults...)
	}
	var files []zone.Source
	for _, f := range s.fragments {
		files = append(files, f.Files...)
	}
	s.input = t.inputDigest(z, files, nil)
	return s
}

// compile loads and compiles a zone. The zone is nil when the list, in which
// accepted warnings are left out, has an error.
func (t *Tree) compile(z *config.Zone) (*zone.Zone, *sources, diag.List) {
	src := t.loadSources(z)
	compiled, faults := t.compileSources(z, src)
	return compiled, src, faults
}

// compileSources is compile of what was loaded already.
func (t *Tree) compileSources(z *config.Zone, src *sources) (*zone.Zone, diag.List) {
	if src.absent {
		return nil, nil
	}
	compiled, host, faults := t.rulesOf(&z.Policy).CompileAgain(t.holding.host(z.Name), z.Name, src.fragments...)
	t.holding.rememberHost(z.Name, host, src.fragments)
	if src.faults.HasErrors() {
		compiled = nil
	}
	faults = append(src.faults, faults...)
	faults = slices.DeleteFunc(faults, func(d diag.Diagnostic) bool {
		return d.Severity == diag.Warning && slices.Contains(z.Policy.Accept, d.Code)
	})
	faults.Sort()
	return compiled, faults
}

// rulesOf is what a policy asks of the records.
func (t *Tree) rulesOf(p *config.Policy) zone.Rules {
	r := zone.Rules{MaxTTL: uint32(p.MaxTTL / time.Second)}
	r.DNS01 = slices.ContainsFunc(t.Config.DropBoxes, func(b config.DropBox) bool {
		if t.challenges != nil {
			return t.challenges.dirs[b.Path]
		}
		dir, _ := isDir(nil, b.Path)
		return dir
	})
	if p.Sign != config.SignFalse {
		r.Refresh = uint32(p.Refresh / time.Second)
	}
	return r
}

func recordsOf(f zone.Fragment) int {
	if f.Records == nil {
		return 0
	}
	return f.Records.Len()
}

// private are the parts of a tree that no fragment may read.
func (t *Tree) private(path string) bool {
	for _, dir := range []string{t.Config.Paths.Keys, t.Config.Paths.State} {
		rel, err := filepath.Rel(t.Config.Tree, dir)
		if err == nil && (path == rel || strings.HasPrefix(path, rel+"/")) {
			return true
		}
	}
	return false
}

// quickInput is the input digest by raw reads, without parsing. It is not ok
// when a file cannot be read or includes others: then loadSources has to tell.
// Files that fit are read into buf.
func (t *Tree) quickInput(z *config.Zone, buf []byte) (digest [sha256.Size]byte, ok bool) {
	if t.kept != nil || z.Policy.DSFromChild {
		s := t.loadSources(z)
		return s.input, !s.absent && (t.kept == nil || !s.faults.HasErrors())
	}
	files := make([]zone.Source, 0, 8)
	file := func(name string) bool {
		src, err := t.peek(name, buf)
		if err != nil || bytes.IndexByte(src, '$') >= 0 && primary.HasInclude(src) {
			return false
		}
		files = append(files, zone.Source{Name: name, Digest: zone.Digest(src)})
		return true
	}
	if !file(z.SOA) {
		return digest, false
	}
	for _, name := range z.Primary {
		if !file(name) {
			return digest, false
		}
	}
	for _, extra := range t.Extras {
		fragments, _ := extra(z.Name, nil)
		for _, f := range fragments {
			files = append(files, f.Files...)
		}
	}
	return t.inputDigest(z, files, buf), true
}

// peek is zone.ReadFile of a source, sooner if it is small, no link and in one of
// the directories that most are in.
func (t *Tree) peek(name string, buf []byte) ([]byte, error) {
	dir, base := path.Split(name)
	if d := t.sourceDirs[path.Clean(dir)]; d != nil && buf != nil {
		if n, of, err := durable.PeekAt(d, base, buf); err == nil && int64(n) == of.Size {
			return buf[:n], nil
		}
	}
	return zone.ReadFile(t.files, name)
}

// openSources opens the directories of some zones' sources for peek, until
// closeSources: soon, as another may stand there then. What is in one that cannot
// be opened is read by its name, which tells why.
func (t *Tree) openSources(zones []*config.Zone) {
	t.sourceDirs = map[string]*os.File{}
	if t.kept != nil {
		return // nobody peeks
	}
	for _, z := range zones {
		for k := range 1 + len(z.Primary) {
			name := z.SOA
			if k > 0 {
				name = z.Primary[k-1]
			}
			dir := path.Dir(name)
			if _, known := t.sourceDirs[dir]; known || len(t.sourceDirs) == maxSourceDirs {
				continue
			}
			t.sourceDirs[dir] = nil
			if filepath.IsAbs(dir) {
				continue
			}
			real, err := t.files.resolve(dir)
			if err != nil || t.private(real) {
				continue
			}
			if d, err := t.files.openDir(real); err == nil {
				t.sourceDirs[dir] = d
			}
		}
	}
}

// maxSourceDirs is how many directories of sources are kept open at a time.
const maxSourceDirs = 32

func (t *Tree) closeSources() {
	for _, d := range t.sourceDirs {
		if d != nil {
			d.Close()
		}
	}
	t.sourceDirs = nil
}

// inputDigest covers everything that a published file is a function of, but
// for the previous file and the clock.
func (t *Tree) inputDigest(z *config.Zone, files []zone.Source, buf []byte) [sha256.Size]byte {
	text := fmt.Appendf(make([]byte, 0, 2<<10), "input 1\n%s\n%s\n", z.Name, z.Policy)
	for _, f := range files {
		text = append(strconv.AppendQuote(append(text, "file "...), f.Name), ' ')
		text = append(hex.AppendEncode(text, f.Digest[:]), '\n')
	}
	if z.Policy.Sign == config.SignTrue {
		text = t.appendKeys(text, z.Name, buf)
	}
	return sha256.Sum256(text)
}

// notMounted names the configured sources whose marker file is absent: an
// empty mount point must not look like a wish to delete everything.
func (t *Tree) notMounted() error {
	var missing []string
	dirs := map[string]string{"soa": t.Config.Paths.SOA, "primary": t.Config.Paths.Primary} // the others have rules of their own
	for name, s := range t.Config.Sources {
		dir := dirs[name]
		if s.Marker == "" || dir == "" || t.Config.InRevision(dir) { // an exported revision is there
			continue
		}
		_, err := hear(t.files.ear, func() (fs.FileInfo, error) { return os.Lstat(filepath.Join(dir, s.Marker)) }, nil)
		if err != nil && !errors.Is(err, errMute) { // of one that does not answer, what is kept stands
			missing = append(missing, fmt.Sprintf("%s: no %s", name, s.Marker))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return errors.New("not mounted: " + strings.Join(missing, ", "))
}
