package build

import (
	"errors"
	"os"
	"slices"
	"sync"

	"zonebuild/internal/durable"
	"zonebuild/tlsa"
)

// errAway is why nothing is known of a part that is in other hands since the start.
var errAway = errors.New("it is being updated, or its update failed, and nothing was read of it before")

// lastRead is what stands of certs.map and certs/ while they are in other hands, or do
// not answer.
type lastRead struct {
	mu    sync.Mutex
	known bool // certs.map was read
	text  []byte
	err   error // of that
	files map[string]fileRead
}

// fileRead is what a file of certs/ held when it was read last.
type fileRead struct {
	material *tlsa.Material
	err      error
}

// isAway reports whether a part of the tree, named as in [source.NAME], is not to be read.
func (t *Tree) isAway(part string) bool { return slices.Contains(t.away, part) }

// unheard reports whether a part was not read because of errAway or errMute: what was
// read of it last stands then.
func unheard(err error) bool { return errors.Is(err, errAway) || errors.Is(err, errMute) }

// readMap reads certs.map, which is held with soa/ and primary/.
func (t *Tree) readMap() ([]byte, error) {
	if t.last == nil {
		return t.readMapNow()
	}
	text, err := []byte(nil), errAway
	if !t.held {
		text, err = t.readMapNow()
	}
	switch {
	case unheard(err) && t.last.known:
		return t.last.text, t.last.err
	case !unheard(err) && !t.isMoving(): // else it may be half of a revision, and its change is news to come
		t.last.known, t.last.text, t.last.err = true, text, err
	}
	return text, err
}

func (t *Tree) readMapNow() ([]byte, error) {
	file := t.Config.Paths.CertsMap
	return hear(t.beside.ear("file "+file), func() ([]byte, error) {
		return readTwice(func() ([]byte, os.FileInfo, error) { return durable.ReadFile(file, maxCertsMap) })
	}, nil)
}

// isMoving reports whether soa/, primary/ and certs.map have come into other hands since
// the pass began, or whether nobody answers that.
func (t *Tree) isMoving() bool {
	moving := t.moving
	if moving == nil {
		return false
	}
	is, err := hear(t.files.ear, func() (bool, error) { return moving(), nil }, nil)
	return is || err != nil
}

// forget leaves out the files of certs/ that no line names any more.
func (l *lastRead) forget(named map[string]bool) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.files {
		if !named[name] {
			delete(l.files, name)
		}
	}
}

// note remembers what was read for a group.
func (l *lastRead) note(g tlsa.Group, keys []tlsa.Keys) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, line := range g.Lines {
		l.files[line.CertFile] = fileRead{keys[i].Live.Material, keys[i].Live.Err}
		if line.Next != "" {
			l.files[line.Next] = fileRead{keys[i].Next.Material, keys[i].Next.Err}
		}
	}
}

// keys are those of a group as they were read last; of files that were not, the error says
// why.
func (l *lastRead) keys(g tlsa.Group, unread error) []tlsa.Keys {
	l.mu.Lock()
	defer l.mu.Unlock()
	get := func(name string) (*tlsa.Material, error) {
		if f, ok := l.files[name]; ok {
			return f.material, f.err
		}
		return nil, unread
	}
	out := make([]tlsa.Keys, len(g.Lines))
	for i, line := range g.Lines {
		out[i].Live.Material, out[i].Live.Err = get(line.CertFile)
		if line.Next != "" {
			out[i].Next.Material, out[i].Next.Err = get(line.Next)
		}
	}
	return out
}

// keepParts takes over what another opening of the tree read last.
func (t *Tree) keepParts(old *Tree) {
	was, is := old.Config, t.Config
	if was.Paths.SSHFP == is.Paths.SSHFP {
		t.hostKeys = old.hostKeys
	}
	if was.Paths.Certs == is.Paths.Certs && was.Paths.CertsMap == is.Paths.CertsMap && old.last != nil {
		t.last = old.last
	}
}

// rest lets go of the tree's directory between two passes, so that a file system that is
// mounted there can be unmounted.
func (t *Tree) rest() {
	if t.kept != nil {
		t.files.close()
	}
}
