package validate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// maxIterations is the most that is hashed; it is what validators in the field
// agreed on in 2021, and RFC 9276 §3.2 lets them treat more as insecure.
const maxIterations = 150

const hashChars = 32 // of SHA-1 in base32

// nsec3 says that between two hashes of names there is none (RFC 5155 §3).
type nsec3 struct {
	hash, next string // in upper case
	optOut     bool   // but for insecure delegations
	types      types
}

// covers reports whether a hash lies between.
func (n *nsec3) covers(hash string) bool {
	switch {
	case n.hash < n.next:
		return n.hash < hash && hash < n.next
	case n.hash > n.next: // the last of the zone
		return n.hash < hash || hash < n.next
	}
	return hash != n.hash // the only one
}

// nsec3s are the NSEC3 records of an answer; all have the same parameters.
type nsec3s struct {
	list       []nsec3
	iterations uint16
	salt       string
	hashes     map[domain.Name]string
}

// add takes a record, unless it has another hash, flags (RFC 5155 §8.1-8.2) or
// parameters than the first or is not of this zone.
func (s *nsec3s) add(rr *dns.NSEC3, owner, apex domain.Name) bool {
	label, _, _ := strings.Cut(owner.String(), ".")
	hash, next, salt := strings.ToUpper(label), strings.ToUpper(rr.NextDomain), strings.ToUpper(rr.Salt)
	switch {
	case owner == domain.Root || owner.Parent() != apex || len(hash) != hashChars || len(next) != hashChars:
		return false
	case rr.Hash != dns.SHA1 || rr.Flags&^1 != 0:
		return false
	case len(s.list) > 0 && (rr.Iterations != s.iterations || salt != s.salt):
		return false
	}
	s.iterations, s.salt = rr.Iterations, salt
	s.list = append(s.list, nsec3{hash, next, rr.Flags&1 != 0, rr.TypeBitMap})
	return true
}

func (s *nsec3s) hash(j *job, name domain.Name) string {
	if h, ok := s.hashes[name]; ok {
		return h
	}
	h := "" // it matches nothing; see covering
	if j.hashes++; j.hashes <= maxHashes {
		h = dns.HashName(name.String(), dns.SHA1, s.iterations, s.salt)
	}
	if s.hashes == nil {
		s.hashes = map[domain.Name]string{}
	}
	s.hashes[name] = h
	return h
}

func (s *nsec3s) matching(j *job, name domain.Name) *nsec3 {
	h := s.hash(j, name)
	for i := range s.list {
		if s.list[i].hash == h {
			return &s.list[i]
		}
	}
	return nil
}

func (s *nsec3s) covering(j *job, name domain.Name) *nsec3 {
	h := s.hash(j, name)
	for i := range s.list {
		if h != "" && s.list[i].covers(h) {
			return &s.list[i]
		}
	}
	return nil
}

// usable: errUnproved without records; too many iterations make the answer
// insecure, which the text says.
func (s *nsec3s) usable() (insecure string, err error) {
	switch {
	case len(s.list) == 0:
		return "", errUnproved
	case s.iterations > maxIterations:
		return fmt.Sprintf("NSEC3 with %d iterations, and more than %d prove nothing (RFC 9276 §3.2)", s.iterations, maxIterations), nil
	}
	return "", nil
}

// encloser finds the longest ancestor of a name that exists, and the record that
// covers the name next to it (RFC 5155 §8.3).
func (s *nsec3s) encloser(j *job, name, apex domain.Name) (domain.Name, *nsec3, error) {
	for next := name; next != apex; next = next.Parent() {
		match := s.matching(j, next.Parent())
		if match == nil {
			continue
		}
		if match.types.hides() {
			return domain.Name{}, nil, errors.New("its NSEC3 is that of a delegation or a DNAME above it")
		}
		if cover := s.covering(j, next); cover != nil {
			return next.Parent(), cover, nil
		}
		break
	}
	return domain.Name{}, nil, errUnproved
}

// deny proves that a name does not exist, or not with this type (RFC 5155
// §8.4-8.7).
func (s *nsec3s) deny(j *job, name domain.Name, typ uint16, apex domain.Name) (proof, error) {
	if insecure, err := s.usable(); err != nil || insecure != "" {
		return proof{status: Insecure, reason: insecure}, err
	}
	if n := s.matching(j, name); n != nil {
		if !n.types.lacks(name, typ) {
			return proof{}, fmt.Errorf("the NSEC3 of %s does not prove it", name)
		}
		return proof{exists: NoData, delegation: n.types.delegates()}, nil
	}
	encloser, next, err := s.encloser(j, name, apex)
	if err != nil {
		return proof{}, err
	}
	p := proof{}
	if next.optOut {
		p.status, p.reason = Insecure, optOut(name, apex)
	}
	wildcard, ok := wildcardOf(encloser)
	if !ok {
		p.exists = NXDomain
		return p, nil
	}
	if w := s.matching(j, wildcard); w != nil {
		p.exists, p.wildcard = NoData, true
		if !w.types.lacks(wildcard, typ) || w.types.delegates() {
			return proof{}, fmt.Errorf("the NSEC3 of %s does not prove it", wildcard)
		}
		return p, nil
	}
	p.exists = NXDomain
	// Where an insecure delegation may hide, no wildcard needs to be denied: the
	// answer is insecure whether there is one or not (RFC 5155 §8.6, §9.2).
	if s.covering(j, wildcard) == nil && !next.optOut {
		return proof{}, errUnproved
	}
	return p, nil
}

// expanded is expandedNSEC (RFC 5155 §8.8); the text says why the answer is not
// secure all the same.
func (s *nsec3s) expanded(j *job, name domain.Name, labels int) (insecure string, err error) {
	if insecure, err := s.usable(); err != nil || insecure != "" {
		return insecure, err
	}
	n := s.covering(j, ancestor(name, labels+1))
	switch {
	case n == nil:
		return "", errUnproved
	case n.optOut:
		return optOut(name, ancestor(name, labels)), nil
	}
	return "", nil
}

func optOut(name, above domain.Name) string {
	return fmt.Sprintf("an insecure delegation may hide between %s and %s (NSEC3 opt-out, RFC 5155 §6)", above, name)
}
