package validate

import (
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// cutKey names a step of the walk: into the zone of an anchor, or past one more
// label.
type cutKey struct {
	name   domain.Name
	anchor bool
}

// step is what one more label is: the zone that begins there, if one does.
type step struct {
	zone *zone
	end  bool // no zone begins below it either: nothing is there
}

// flight is a step that is being made; done is closed when it is known.
type flight struct {
	done chan struct{}
	step step
}

// zoneOf walks from the anchor that is nearest above a name down to the zone
// that holds it, or to the first that is not secure. Never nil.
func (j *job) zoneOf(name domain.Name) *zone {
	set, top, ok := j.anchor(name)
	if !ok {
		return &zone{name: name, status: Indeterminate, reason: "no trust anchor for " + name.String()}
	}
	z := j.once(cutKey{top, true}, func() step {
		return step{zone: j.enter(nil, top, set, "trust anchor", time.Time{})}
	}).zone
	for depth := top.Labels() + 1; depth <= name.Labels() && z.status == Secure; depth++ {
		n := ancestor(name, depth)
		s := j.once(cutKey{n, false}, func() step { return j.cut(z, n) })
		if s.zone != nil {
			z = s.zone
		}
		if s.end {
			break
		}
	}
	return z
}

// ancestor is the ancestor of a name, or itself, with so many labels.
func ancestor(name domain.Name, labels int) domain.Name {
	for name.Labels() > labels {
		name = name.Parent()
	}
	return name
}

// anchor gives the anchors of the deepest zone that has any and holds a name.
func (j *job) anchor(name domain.Name) (set []*dns.DS, top domain.Name, ok bool) {
	for _, a := range j.v.Anchors {
		if !name.IsWithin(a.Zone) || ok && a.Zone.Labels() < top.Labels() {
			continue
		}
		if a.Zone != top || !ok {
			set, top, ok = nil, a.Zone, true
		}
		set = append(set, a.DS)
	}
	return set, top, ok
}

// once makes a step that nobody has made yet. What could not be told is not
// kept, and one who only waited for it tries himself.
func (j *job) once(key cutKey, work func() step) step {
	v := j.v
	for {
		v.mu.Lock()
		f := v.cuts[key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			if v.cuts == nil {
				v.cuts = map[cutKey]*flight{}
			}
			v.cuts[key] = f
			v.mu.Unlock()
			f.step = work()
			v.mu.Lock()
			if z := f.step.zone; z != nil && z.status == Indeterminate || len(v.cuts) > maxCached {
				delete(v.cuts, key)
			}
			v.mu.Unlock()
			close(f.done)
			return f.step
		}
		v.mu.Unlock()
		select {
		case <-f.done:
			if z := f.step.zone; z == nil || z.status != Indeterminate || j.ctx.Err() != nil {
				return f.step
			}
		case <-j.ctx.Done():
			return step{zone: &zone{name: key.name, status: Indeterminate, reason: "time is up"}}
		}
	}
}

// cut asks whether a zone begins at a name, which its parent z must say: by a DS
// set, or by the proof that there is none and whether there is a delegation
// (RFC 4035 §5.2).
func (j *job) cut(z *zone, name domain.Name) step {
	m, err := j.ask(name, dns.TypeDS)
	if err != nil {
		return step{zone: z.child(name, Indeterminate, "no answer for %s DS: %v", name, err)}
	}
	h := j.judge(m, m.find(name, dns.TypeDS), z)
	switch {
	case h.status == Bogus:
		return step{zone: z.child(name, Bogus, "%s", h.reason)}
	case h.status == Insecure:
		return step{zone: z.child(name, Insecure, "%s", h.reason)}
	case h.exists == NXDomain, h.dname:
		return step{end: true}
	case h.alias:
		return step{}
	case h.exists == Data && h.wildcard:
		return step{zone: z.child(name, Bogus, "DS of %s comes from a wildcard", name)}
	case h.exists == Data:
		var set []*dns.DS
		for _, rr := range h.rrs {
			if ds, ok := rr.(*dns.DS); ok {
				set = append(set, ds)
			}
		}
		return step{zone: j.enter(z, name, set, "DS", h.expires)}
	case h.delegation:
		insecure := z.child(name, Insecure, "%s proves that %s has no DS", z.name, name)
		insecure.expires = h.expires
		return step{zone: insecure}
	}
	return step{}
}
