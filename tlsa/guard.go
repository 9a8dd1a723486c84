package tlsa

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// guard goes back to the records before when a CERTFILE brings one and no address
// of the host serves anything that the set matches; at a new owner, all that is
// served must match. A next= key is served by nobody yet, and says nothing for a
// CERTFILE. Once it has refused, the guard goes by what was seen last until
// something else is seen: a host that is down is no proof.
func (s *stepper) guard(before []Tracked) {
	was := s.st.Guarded
	s.st.Guarded = false
	if !s.claims(before) {
		return
	}
	isNew := len(before) == 0
	sights := s.hosts
	if len(sights) == 0 && was {
		sights = slices.DeleteFunc(slices.Clone(s.st.Hosts), func(v HostSight) bool { return v.At.IsZero() })
	}
	matched, bad := 0, ""
	for _, v := range sights {
		for i, chain := range v.Chains {
			if s.fits(chain) || i < len(v.Keys) && s.inFile(v.Keys[i]) {
				matched++
			} else {
				bad = v.Addr.String()
			}
		}
	}
	switch {
	case len(sights) == 0:
		if isNew {
			s.warnf(nil, "tlsa-unseen", "first published without a look at what the host serves")
		}
		return
	case s.Marks.Accept, isNew && bad == "", !isNew && matched > 0:
		return
	}
	s.warnf(nil, "tlsa-guard", "not published: %s serves a key that none of the files holds; put its certificate there (zonebuild tlsa accept %s %d lets the set pass)",
		bad, s.Group.Host, s.Group.Port)
	s.guarded, s.st.Guarded = true, true
	s.st.Records = before
}

// claims reports whether there is a new record that says what the host serves;
// at a new owner each record is one.
func (s *stepper) claims(before []Tracked) bool {
	return slices.ContainsFunc(s.st.Records, func(t Tracked) bool {
		fresh := !slices.ContainsFunc(before, func(b Tracked) bool { return b.Record == t.Record })
		return fresh && (t.Live || len(before) == 0)
	})
}

// fits reports whether a chain matches a record of the new set, or one that is
// written by hand.
func (s *stepper) fits(chain []Record) bool {
	return slices.ContainsFunc(chain, func(r Record) bool { return s.st.tracked(r) != nil || slices.Contains(s.Hand, r) })
}

// inFile reports whether a file holds a key that was seen.
func (s *stepper) inFile(key string) bool {
	for _, keys := range s.Keys {
		for _, k := range []FileKey{keys.Live, keys.Next} {
			if k.Material != nil && key == keyName(k.Material.SPKI) {
				return true
			}
		}
	}
	return false
}

// keyName names a public key by its digest.
func keyName(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}
