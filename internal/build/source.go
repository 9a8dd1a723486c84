package build

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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

// treeFS reads the files of a tree. Paths inside it go through os.Root, so no
// symbolic link leads out; an absolute path of the configuration is the
// operator's own word and is read as it is.
type treeFS struct {
	root    *os.Root
	private func(path string) bool // what no fragment may be or include: a fault could quote a secret
}

// Open opens a file for reading.
func (t treeFS) Open(name string) (fs.File, error) {
	if filepath.IsAbs(name) {
		f, _, err := durable.Open(name, 0)
		return f, err
	}
	real, err := t.resolve(name)
	if err == nil && t.private(real) {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	if err != nil {
		return nil, err
	}
	return t.root.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is not waited for: zone.ReadFile refuses it
}

// maxLinks is how many symbolic links a path may hold, as in Linux.
const maxLinks = 40

// resolve follows the symbolic links in a path of the tree.
func (t treeFS) resolve(name string) (string, error) {
	links := 0
	done, rest := "", name
	for rest != "" {
		part, after, _ := strings.Cut(rest, "/")
		at := path.Join(done, part)
		info, err := t.root.Lstat(at)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done, rest = at, after
			continue
		}
		to, err := t.root.Readlink(at)
		if links++; err == nil && (links > maxLinks || path.IsAbs(to)) {
			err = &fs.PathError{Op: "open", Path: name, Err: errors.New("a symbolic link leads out of the tree")}
		}
		if err != nil {
			return "", err
		}
		done, rest = "", path.Join(done, to, after)
	}
	return done, nil
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
	s.input = t.inputDigest(z, files)
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
	compiled, faults := t.rulesOf(&z.Policy).Compile(z.Name, src.fragments...)
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
		info, err := os.Stat(b.Path)
		return err == nil && info.IsDir()
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
func (t *Tree) quickInput(z *config.Zone) (digest [sha256.Size]byte, ok bool) {
	if t.kept != nil || z.Policy.DSFromChild {
		s := t.loadSources(z)
		return s.input, !s.absent && (t.kept == nil || !s.faults.HasErrors())
	}
	var files []zone.Source
	for _, name := range append([]string{z.SOA}, z.Primary...) {
		src, err := zone.ReadFile(t.files, name)
		if err != nil || primary.HasInclude(src) {
			return digest, false
		}
		files = append(files, zone.Source{Name: name, Digest: sha256.Sum256(src)})
	}
	for _, extra := range t.Extras {
		fragments, _ := extra(z.Name, nil)
		for _, f := range fragments {
			files = append(files, f.Files...)
		}
	}
	return t.inputDigest(z, files), true
}

// inputDigest covers everything that a published file is a function of, but
// for the previous file and the clock.
func (t *Tree) inputDigest(z *config.Zone, files []zone.Source) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "input 1\n%s\n%s\n", z.Name, z.Policy)
	for _, f := range files {
		fmt.Fprintf(h, "file %q %x\n", f.Name, f.Digest)
	}
	if z.Policy.Sign == config.SignTrue {
		t.digestKeys(h, z.Name)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// notMounted names the configured sources whose marker file is absent: an
// empty mount point must not look like a wish to delete everything.
func (t *Tree) notMounted() error {
	var missing []string
	for name, s := range t.Config.Sources {
		if s.Marker == "" || name != "soa" && name != "primary" { // the others have rules of their own
			continue
		}
		dir := s.Path
		if dir == "" {
			dir = name
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(t.Config.Tree, dir)
		}
		if _, err := os.Lstat(filepath.Join(dir, s.Marker)); err != nil {
			missing = append(missing, fmt.Sprintf("%s: no %s", name, s.Marker))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return errors.New("not mounted: " + strings.Join(missing, ", "))
}
