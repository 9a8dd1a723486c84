package dnssec

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// hashed is a name of the NSEC3 chain.
type hashed struct {
	hash  [sha1.Size]byte
	node  zone.Node // Lo == Hi: an empty non-terminal
	empty bool
}

const optOutFlag = 1

// buildNSEC3 makes the chain of RFC 5155 §7.1: one NSEC3 for every name with
// authoritative data, every delegation point and every empty non-terminal.
// With opt-out, insecure delegations and the empty non-terminals that are there
// only for them have none.
func (p *Plan) buildNSEC3(names []hashed, salt []byte) error {
	var flags byte
	if p.policy.Denial == NSEC3OptOut {
		flags = optOutFlag
	}
	var b rrset.Builder
	var types []uint16
	var owner, rdata []byte
	ttl := p.denialTTL()
	for i := range names {
		h := &names[i]
		next := &names[(i+1)%len(names)].hash
		rdata = append(rdata[:0], dns.SHA1, flags, 0, 0, byte(len(salt)))
		rdata = append(append(rdata, salt...), sha1.Size)
		rdata = append(rdata, next[:]...)
		types = types[:0]
		if !h.empty {
			types = p.appendTypes(types, h.node)
			if !p.insecure(h.node) {
				types = append(types, dns.TypeRRSIG)
			}
		}
		rdata = zone.AppendBitmap(rdata, types)
		owner = appendHashLabel(owner[:0], h.hash)
		owner = append(owner, p.apex()...)
		if err := b.Add(owner, dns.TypeNSEC3, ttl, rdata, rrset.Pos{}); err != nil {
			return err
		}
	}
	p.denial = b.Set() // in the order of the hashes, which is that of their labels
	return nil
}

// hashFunc is a hash over a name and a salt.
type hashFunc func(name, salt []byte) [sha1.Size]byte

// chooseNames hashes the names of the chain with the empty salt, or, if two of
// them have one hash then, with the first short one under which they have not
// (RFC 5155 §7.1). They come sorted by their hashes.
func (p *Plan) chooseNames(hashOf hashFunc) (names []hashed, salt []byte) {
	for n := uint16(1); ; n++ {
		names = p.hashNames(hashOf, salt)
		collision := false
		for i := 1; i < len(names) && !collision; i++ {
			collision = names[i].hash == names[i-1].hash
		}
		if !collision {
			return names, salt
		}
		salt = binary.BigEndian.AppendUint16(nil, n)
	}
}

func (p *Plan) hashNames(hashOf hashFunc, salt []byte) []hashed {
	var out []hashed
	var last []byte // name of the chain before this one
	s := p.zone.Records()
	apex := p.apex()
	for n := range p.named(0, p.zone.Records().Len()) {
		if p.policy.Denial == NSEC3OptOut && p.insecure(n) {
			continue
		}
		owner := s.Owner(n.Lo)
		out = append(out, hashed{hash: hashOf(owner, salt), node: n})
		if len(owner) > len(apex) {
			for ent := parent(owner); len(ent) > len(apex) && !domain.IsWithin(last, ent); ent = parent(ent) {
				out = append(out, hashed{hash: hashOf(ent, salt), empty: true})
			}
		}
		last = owner
	}
	slices.SortFunc(out, func(a, b hashed) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	return out
}

// insecure reports whether a name is a delegation point without DS.
func (p *Plan) insecure(n zone.Node) bool {
	if n.Standing != zone.Delegation {
		return false
	}
	s := p.zone.Records()
	for i := n.Lo; i < n.Hi; i++ {
		if s.Type(i) == dns.TypeDS {
			return false
		}
	}
	return true
}

// hashName is RFC 5155 §5 without further iterations.
func hashName(name, salt []byte) [sha1.Size]byte {
	if len(salt) == 0 {
		return sha1.Sum(name)
	}
	return sha1.Sum(slices.Concat(name, salt))
}

// appendHashLabel appends a hash as a label: base32 with extended hex alphabet,
// no padding (RFC 5155 §3.3), in lower case.
func appendHashLabel(dst []byte, hash [sha1.Size]byte) []byte {
	enc := base32.HexEncoding.WithPadding(base32.NoPadding)
	dst = append(dst, byte(enc.EncodedLen(len(hash))))
	at := len(dst)
	dst = enc.AppendEncode(dst, hash[:])
	domain.ToLower(dst[at:])
	return dst
}

// parent is a wire name without its leftmost label.
func parent(name []byte) []byte { return name[1+int(name[0]):] }
