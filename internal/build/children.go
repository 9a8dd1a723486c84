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
// (RFC 8078 §4), or has been seen served without that key. A DS that stands in the
// fragments already is left to them.
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
		for _, rdata := range t.dsOf(parent.Name, child.Name) {
			if holds(fragments, child.Name, dns.TypeDS, rdata) {
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

// dsOf gives the DS of a child, as rdata: of the keys that it was confirmed to be served
// with. While a newer version of it is not confirmed, such as in the pass that makes it or
// with a name server that is down, those stay that its parent has published, if the key is
// still there: without a DS all that the child proves would be lost.
func (t *Tree) dsOf(parent, child domain.Name) (out [][]byte) {
	state, err := t.loadState(child)
	head := t.readHead(child)
	confirmed := err == nil && head.err == nil && state.Confirmed && state.Serial == head.serial
	published := map[string]bool{}
	if !confirmed {
		prev, _, err := t.readPublished(parent, t.PublishedPath(parent))
		if err != nil {
			return nil
		}
		set, err := prev.RRset(child, dns.TypeDS)
		if err != nil {
			return nil
		}
		for i := range set.Len() {
			published[string(set.Rdata(i))] = true
			out = append(out, set.Rdata(i))
		}
	}
	prev, _, err := t.readPublished(child, t.PublishedPath(child))
	if err != nil {
		return out // nobody knows which keys there are
	}
	out = nil
	for _, k := range prev.DNSKEYs() {
		if k.Flags&dns.SEP == 0 || k.Flags&dns.REVOKE != 0 {
			continue
		}
		if rdata := dsRdata(k.ToDS(dns.SHA256)); rdata != nil && (confirmed || published[string(rdata)]) {
			out = append(out, rdata)
		}
	}
	return out
}

// dsRdata is the wire form of RFC 4034 §5.1; nil = there is none.
func dsRdata(ds *dns.DS) []byte {
	if ds == nil {
		return nil
	}
	rdata := binary.BigEndian.AppendUint16(nil, ds.KeyTag)
	rdata, err := hex.AppendDecode(append(rdata, ds.Algorithm, ds.DigestType), []byte(ds.Digest))
	if err != nil {
		return nil
	}
	return rdata
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
