package build

import (
	"crypto/sha256"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/verify"
	"zonebuild/zone"
)

// holdFrom is the size of a published file, in octets, from which on a tree that
// keeps what it reads holds it, and the disk flushes it beside other work: a smaller one
// is read and flushed in no time.
const holdFrom = 1 << 20

// holding are the published zones that stay in memory between the passes of one
// process. nil holds nothing.
type holding struct {
	mu    sync.Mutex
	zones map[domain.Name]heldZone
	hosts map[domain.Name]*zone.Host // what the large fragments of a zone were compiled to
}

// host gives what the host fragments of a zone were compiled to, nil when nothing is
// held.
func (h *holding) host(apex domain.Name) *zone.Host {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hosts[apex]
}

// rememberHost holds what was compiled of large fragments.
func (h *holding) rememberHost(apex domain.Name, is *zone.Host, of []zone.Fragment) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if is == nil || !slices.ContainsFunc(of, func(f zone.Fragment) bool { return f.Held() }) {
		delete(h.hosts, apex)
		return
	}
	h.hosts[apex] = is
}

// heldZone is a published file as this process read or wrote it. It is the file
// for as long as that has the same identity.
type heldZone struct {
	is      identity
	prev    *dnssec.Previous
	input   [sha256.Size]byte
	trusted *verify.Trusted // nil: not looked at yet
}

// identity tells a file from any other that stands or stood at its place.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64
}

// identify gives the identity of a file; false when it cannot be had.
func identify(path string) (identity, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return identity{}, false
	}
	return identity{uint64(st.Dev), uint64(st.Ino), st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, true
}

// recall gives the zone whose file is at path if that is still the one held.
func (h *holding) recall(apex domain.Name, path string) (heldZone, bool) {
	if h == nil {
		return heldZone{}, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	z, ok := h.zones[apex]
	if !ok {
		return z, false
	}
	if is, found := identify(path); !found || is != z.is {
		delete(h.zones, apex)
		return heldZone{}, false
	}
	return z, true
}

// remember holds a zone if that is worth it.
func (h *holding) remember(apex domain.Name, z heldZone) {
	if h == nil || z.prev == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(z.prev.Data()) < holdFrom {
		delete(h.zones, apex)
		return
	}
	h.zones[apex] = z
}

// forget lets go of the zones that has does not have.
func (h *holding) forget(has func(domain.Name) bool) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.zones, func(apex domain.Name, _ heldZone) bool { return !has(apex) })
	maps.DeleteFunc(h.hosts, func(apex domain.Name, _ *zone.Host) bool { return !has(apex) })
}
