package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// hush says which zones may be passed over without their lock when nothing of
// their files is new: not those that something else in this pass concerns.
type hush struct {
	none  bool                 // none may
	loud  map[domain.Name]bool // these may not
	hosts map[domain.Name]int  // files of sshfp/, by zone
}

// findHush is called once the drop boxes, sshfp/ and certs.map were read.
func (p *pass) findHush() {
	t := p.tree
	h := hush{loud: map[domain.Name]bool{}, hosts: map[domain.Name]int{}}
	h.none = p.o.DryRun || p.mounted != nil || !durable.Writable(t.Config.Paths.State) || t.hostKeys.Unread != "" || t.certs.partial != ""
	for _, apex := range p.o.Doubt {
		h.loud[apex] = true
	}
	for apex := range t.challenges.full {
		h.loud[apex] = true
	}
	for _, host := range t.hostKeys.Hosts {
		h.hosts[host.Apex]++
		if host.Broken {
			h.loud[host.Apex] = true
		}
	}
	for apex := range t.certs.groups {
		h.loud[apex] = true
	}
	rolling, err := os.ReadDir(filepath.Dir(t.tlsaPath(domain.Root)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.none = true
	}
	for _, e := range rolling {
		file, _ := strings.CutSuffix(e.Name(), ".json")
		if apex, err := domain.FromFileName(file); err == nil {
			h.loud[apex] = true
		}
	}
	p.hush = h
}

// calm is the cheapest answer, and the one for nearly all zones of nearly all
// passes: a zone of which prepare would find nothing new and finish would write
// nothing is passed over, without its lock. That was true at an instant of this
// pass, whoever else is at work: a publish changes the file and then the state, and
// what does not fit together, or is odd in any way, is for those who hold the lock. They
// get the digest of the input if it was made.
func (p *pass) calm(z *config.Zone) (r Result, quick *glimpse, ok bool) {
	t := p.tree
	if p.hush.none || p.hush.loud[z.Name] || z.Policy.Sign == config.SignExternal || t.Config.Find(z.Name) == nil {
		return r, nil, false
	}
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	s, stateID, ok := t.calmState(z.Name, *buf)
	if !ok || s.Hosts != p.hush.hosts[z.Name] || p.o.NewZone && !s.Signed && z.Policy.Signed() {
		return r, nil, false
	}
	signed := filepath.Join(t.Config.Paths.Signed, z.Name.FileName())
	head, ok := glance(signed, *buf)
	if !ok || s.Signed && s.Oldest.IsZero() && !head.header.Next.IsZero() {
		return r, nil, false
	}
	if !lockable(t.lockPath(z.Name)) { // else a tree in which nothing can be locked is told of too late
		return r, nil, false
	}
	j := &job{z: z, state: s, now: p.o.Now, head: head}
	digest, ok := t.quickInput(z, *buf)
	if !ok {
		return r, nil, false
	}
	if !p.upToDate(j, digest) || !t.keptGood(j) {
		return r, &glimpse{digest, head.id}, false
	}
	r = Result{Zone: z.Name, Action: Unchanged, Serial: head.serial, Next: head.header.Next, Confirmed: true}
	r.After = t.afterOf(z.Name, head, s)
	r.After.Files = []FileAfter{{t.statePath(z.Name), stateID}, {t.tlsaPath(z.Name), FileID{}}, {signed, head.id}}
	return r, nil, true
}

// glimpse is the input digest of a zone, and what was published when it was made.
type glimpse struct {
	input [sha256.Size]byte
	of    FileID
}

// lockable reports whether there is a lock file.
func lockable(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// calmState is the state of a zone that is confirmed and has nothing else to say.
func (t *Tree) calmState(apex domain.Name, buf []byte) (s *State, id FileID, ok bool) {
	n, of, err := durable.Peek(t.statePath(apex), buf)
	if err != nil || int64(n) != of.Size {
		return nil, id, false
	}
	s = &State{}
	if err := json.Unmarshal(buf[:n], s); err != nil {
		return nil, id, false
	}
	ok = s.Confirmed && s.Rollovers == rolloversNone && !s.Retired && s.Awaited == nil && s.Faults == s.Accepted &&
		len(s.Alarms)+len(s.Over)+len(s.Refused)+len(s.Approved) == 0
	return s, FileID(of), ok
}

// glance is readHead, without a parser, of a file that is as it was written.
func glance(path string, buf []byte) (p published, ok bool) {
	n, of, err := durable.Peek(path, buf)
	if err != nil {
		return p, false
	}
	p.exists, p.id = true, FileID(of)
	if p.header, err = parseHeader(buf[:n]); err != nil {
		return p, false
	}
	// The owner and the names in the rdata may hold anything but a tab or a space.
	line, _, whole := bytes.Cut(buf[headerLen:n], []byte{'\n'})
	_, line, isSOA := bytes.Cut(line, []byte("\tIN\tSOA\t"))
	if !whole || !isSOA || bytes.Count(line, []byte{' '}) != 6 {
		return p, false
	}
	_, line, _ = bytes.Cut(line, []byte{' '}) // behind the primary server
	_, line, _ = bytes.Cut(line, []byte{' '}) // and the mailbox
	digits, _, _ := bytes.Cut(line, []byte{' '})
	serial, err := strconv.ParseUint(string(digits), 10, 32)
	p.serial = uint32(serial)
	return p, err == nil
}

// afterOf is what a daemon has to know, but for the files.
func (t *Tree) afterOf(apex domain.Name, head published, s *State) (a After) {
	if head.err == nil {
		a.Serial, a.Due = head.serial, head.header.Next
		a.Confirmed = s.Confirmed && s.Serial == head.serial
	}
	a.Elsewhere = s.Awaited != nil
	a.Published, a.Oldest, a.Alarms, a.Over = s.Published, s.Oldest, slices.Clone(s.Alarms), slices.Clone(s.Over)
	a.Expires = t.challenges.expires(apex)
	t.keptMu.Lock()
	defer t.keptMu.Unlock()
	if k := t.kept[apex]; k != nil {
		for _, f := range k.files() {
			a.Sources = append(a.Sources, f.Name)
		}
	}
	return a
}

// sideBySide calls f for each of n, so many at a time.
func sideBySide(n, width int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, width) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}
