package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
	"zonebuild/zone"
)

// childDS makes the DS records of the signed zones below a zone that are in the
// same tree. A DS appears only once the DNSKEY that it names was seen served,
// and it goes when the child asks for that by the delete form of CDS
// (RFC 8078 §4). A DS that stands in the fragments already is left to them.
func (t *Tree) childDS(parent *config.Zone, fragments []zone.Fragment) zone.Fragment {
	const name = "ds-from-child"
	out := zone.Fragment{Name: name, TTL: -1}
	var b rrset.Builder
	var text bytes.Buffer // of what was made, for the digest of the input
	for i := range t.Config.Zones {
		child := &t.Config.Zones[i]
		if child.Name == parent.Name || !t.isParent(parent, child.Name) || child.Policy.CDS == "delete" || !holds(fragments, child.Name, dns.TypeNS, nil) {
			continue
		}
		for _, k := range t.servedKeys(child.Name) {
			ds := k.ToDS(dns.SHA256)
			if ds == nil {
				continue
			}
			rdata := binary.BigEndian.AppendUint16(nil, ds.KeyTag)
			rdata = append(rdata, ds.Algorithm, ds.DigestType)
			rdata, err := hex.AppendDecode(rdata, []byte(ds.Digest))
			if err != nil || holds(fragments, child.Name, dns.TypeDS, rdata) {
				continue
			}
			file, err := b.AddFile(name + " " + child.Name.String())
			if err == nil {
				err = b.Add([]byte(child.Name.Wire()), dns.TypeDS, int64(parent.Policy.DNSKEYTTL/time.Second), rdata, rrset.Pos{File: file})
			}
			if err != nil {
				continue // the zone is full, which its own records say
			}
			text.WriteString(child.Name.String())
			text.Write(rdata)
		}
	}
	out.Records = b.Set()
	out.Files = []zone.Source{{Name: name, Digest: sha256.Sum256(text.Bytes())}}
	return out
}

// isParent reports whether parent is the zone that delegates child.
func (t *Tree) isParent(parent *config.Zone, child domain.Name) bool {
	p, _ := t.parentOf(child)
	return p == parent
}

// holds reports whether a fragment has a record of a name and type; nil is any
// rdata.
func holds(fragments []zone.Fragment, name domain.Name, typ uint16, rdata []byte) bool {
	return slices.ContainsFunc(fragments, func(f zone.Fragment) bool {
		for i := 0; f.Records != nil && i < f.Records.Len(); i++ {
			if f.Records.Type(i) == typ && string(f.Records.Owner(i)) == name.Wire() && (rdata == nil || bytes.Equal(f.Records.Rdata(i), rdata)) {
				return true
			}
		}
		return false
	})
}

// servedKeys are the DNSKEYs with the SEP flag that a zone was confirmed to be
// served with.
func (t *Tree) servedKeys(apex domain.Name) []dns.DNSKEY {
	state, err := t.loadState(apex)
	head := t.readHead(apex)
	if err != nil || head.err != nil || !state.Confirmed || state.Serial != head.serial {
		return nil
	}
	prev, _, err := t.readPublished(apex, t.PublishedPath(apex))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(prev.DNSKEYs(), func(k dns.DNSKEY) bool { return k.Flags&dns.SEP == 0 || k.Flags&dns.REVOKE != 0 })
}
