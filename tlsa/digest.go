package tlsa

import "slices"

// other is a kind with the other digest.
func (k Kind) other() Kind {
	k.MatchingType = SHA256 + SHA512 - k.MatchingType
	return k
}

// findTwins pairs the records of each key that is in a file.
func (s *stepper) findTwins() {
	for i := range s.Group.Lines {
		k := s.Group.Lines[i].Kind
		if k.MatchingType == Full {
			continue
		}
		for _, f := range []FileKey{s.Keys[i].Live, s.Keys[i].Next} {
			if f.Material == nil {
				continue
			}
			a, errA := Associate(k, f.Material)
			b, errB := Associate(k.other(), f.Material)
			if errA == nil && errB == nil {
				s.twins[a], s.twins[b] = b, a
			}
		}
	}
}

// counts reports whether every client that gets an RRset with a record can go by
// it: not if the other digest stands there for other keys only, which is all that
// some clients look at (RFC 7671 §9). Of a key that is in no file nobody can tell.
func (s *stepper) counts(r Record, in []Record) bool {
	if !slices.Contains(in, r) {
		return false
	}
	twin, known := s.twins[r]
	return !known || slices.Contains(in, twin) || !slices.ContainsFunc(in, func(o Record) bool { return o.Kind == twin.Kind })
}

// siblings is a record together with those of the same key in the other digests
// that stand at the owner, or that another line brings there. A client may use either the strongest digest it
// knows or SHA-256 only, so in each digest all keys stand or none (RFC 7671
// §8.3, §9): a digest is new only when all keys that are published are known.
func (s *stepper) siblings(r Record, m *Material) []Record {
	out := []Record{r}
	if r.MatchingType == Full {
		return out
	}
	other := r.Kind.other()
	here, there := s.hasKind(r.Kind), s.hasKind(other)
	there = there || slices.Contains(s.kinds, other) && s.allKnown(r.Kind)
	if !there {
		return out
	}
	o, err := Associate(other, m)
	if err != nil {
		return out // cannot happen: the same data, hashed otherwise
	}
	if !here && !s.allKnown(other) {
		s.warnf(nil, "tlsa-digest", "published as %s until the keys of the present records are gone: one digest for some of the keys only would break clients", other)
		return []Record{o}
	}
	return append(out, o)
}

func (s *stepper) hasKind(k Kind) bool {
	has := func(r Record) bool { return r.Kind == k }
	return slices.ContainsFunc(s.Published.Records, has) || slices.ContainsFunc(s.st.Records, func(t Tracked) bool { return has(t.Record) })
}

// allKnown reports whether the key of each record of a kind is in a file now.
func (s *stepper) allKnown(k Kind) bool {
	known := func(r Record) bool {
		for _, keys := range s.Keys {
			for _, f := range []FileKey{keys.Live, keys.Next} {
				if f.Material == nil {
					continue
				}
				if o, err := Associate(k, f.Material); err == nil && o == r {
					return true
				}
			}
		}
		return false
	}
	for _, r := range s.Published.Records {
		if r.Kind == k && !known(r) {
			return false
		}
	}
	return !slices.ContainsFunc(s.st.Records, func(t Tracked) bool { return t.Record.Kind == k && !known(t.Record) })
}
