package build

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/config"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/guard"
	"zonebuild/primary"
	"zonebuild/soa"
	"zonebuild/zone"
)

// delegation compares DS and DNSKEY on both sides of each zone cut of the
// tree, and, before a zone is first published signed, with its parent outside.
func (p *pass) delegation(j *job, z *zone.Zone, f *guard.Facts) {
	if why := p.children(z); why != "" {
		f.ParentInTree, f.DS = true, why
		return
	}
	if parent := p.tree.parentOf(j.z.Name); parent != nil {
		f.ParentInTree = true
		if set := p.tree.dsAt(parent, j.z.Name); len(set) > 0 {
			f.DS = p.matchDS(set, &j.z.Policy, j.z.Name, "the parent zone "+parent.Name.String())
		}
		return
	}
	if !f.First || !f.Signed || len(p.tree.keys.Files(j.z.Name)) == 0 { // without keys there is nothing to compare
		return
	}
	switch {
	case p.o.NewZone || j.state.NewZone:
	case len(j.z.DS) > 0:
		var set []*dns.DS
		for _, text := range j.z.DS {
			ds, err := parseDS(j.z.Name, text)
			if err != nil {
				f.DS = err.Error()
				return
			}
			set = append(set, ds)
		}
		f.DS = p.matchDS(set, &j.z.Policy, j.z.Name, "the configuration")
	default:
		f.DS = p.askDS(j)
	}
}

// children says which DS of z, for a zone of this tree, fits none of its keys.
func (p *pass) children(z *zone.Zone) string {
	s := z.Records()
	for n := range z.Nodes() {
		if n.Standing != zone.Delegation {
			continue
		}
		child := p.tree.Config.Find(s.Name(n.Lo))
		if child == nil {
			continue
		}
		var set []*dns.DS
		for i := n.Lo; i < n.Hi; i++ {
			if s.Type(i) == dns.TypeDS {
				set = append(set, dsFromRdata(child.Name, s.Rdata(i)))
			}
		}
		if len(set) == 0 {
			continue
		}
		if why := p.matchDS(set, &child.Policy, child.Name, "this zone"); why != "" {
			return why
		}
	}
	return ""
}

// matchDS says why a DS set does not fit the keys of a zone; "" = it does: one
// DS is made of a key that signs the DNSKEY set (RFC 4035 §5.2).
func (p *pass) matchDS(set []*dns.DS, policy *config.Policy, apex domain.Name, where string) string {
	if policy.Sign != config.SignTrue {
		return fmt.Sprintf("%s has a DS for %s, which is not signed", where, apex)
	}
	keys, faults := dnssec.LoadKeys(p.tree.keys, apex, dnssec.LoadOptions{})
	if faults.HasErrors() {
		return fmt.Sprintf("load the keys of %s: %s", apex, faults[0])
	}
	var ours []string
	for i := range keys {
		k := &keys[i]
		if !k.Published || !k.SignsKeys {
			continue
		}
		ours = append(ours, fmt.Sprint(k.Tag))
		for _, ds := range set {
			if made := dnssec.DS(k, ds.DigestType); made != nil && made.KeyTag == ds.KeyTag && made.Algorithm == ds.Algorithm && strings.EqualFold(made.Digest, ds.Digest) {
				return ""
			}
		}
	}
	var theirs []string
	for _, ds := range set {
		theirs = append(theirs, fmt.Sprint(ds.KeyTag))
	}
	return fmt.Sprintf("the DS of %s in %s (key tag %s) is of none of its keys (key tag %s)", apex, where, strings.Join(theirs, ", "), strings.Join(ours, ", "))
}

func dsFromRdata(owner domain.Name, rdata []byte) *dns.DS {
	return &dns.DS{
		Hdr:    dns.RR_Header{Name: owner.String(), Rrtype: dns.TypeDS, Class: dns.ClassINET},
		KeyTag: binary.BigEndian.Uint16(rdata), Algorithm: rdata[2], DigestType: rdata[3], Digest: hex.EncodeToString(rdata[4:]),
	}
}

// parseDS reads "TAG ALGORITHM TYPE DIGEST", or a whole DS record.
func parseDS(owner domain.Name, text string) (*dns.DS, error) {
	if rr, err := dns.NewRR(text); err == nil {
		if ds, ok := rr.(*dns.DS); ok {
			return ds, nil
		}
	}
	if rr, err := dns.NewRR(owner.String() + " 0 IN DS " + text); err == nil && rr != nil {
		return rr.(*dns.DS), nil
	}
	return nil, fmt.Errorf("ds %q: not of the form TAG ALGORITHM DIGEST-TYPE DIGEST", text)
}

// parentOf is the closest enclosing zone in this tree.
func (t *Tree) parentOf(apex domain.Name) *config.Zone {
	for n := apex; n != domain.Root; {
		n = n.Parent()
		if z := t.Config.Find(n); z != nil {
			return z
		}
	}
	return nil
}

// dsAt are the DS records that the sources of parent hold for child.
func (t *Tree) dsAt(parent *config.Zone, child domain.Name) []*dns.DS {
	t.dsMu.Lock()
	defer t.dsMu.Unlock()
	all, ok := t.ds[parent.Name]
	if !ok {
		all = map[domain.Name][]*dns.DS{}
		f, _ := soa.Load(t.files, parent.SOA, parent.Name)
		fragments := []zone.Fragment{f}
		for _, file := range parent.Primary {
			f, _ := primary.Load(t.files, file, parent.Name)
			fragments = append(fragments, f)
		}
		for _, f := range fragments {
			for i := 0; f.Records != nil && i < f.Records.Len(); i++ {
				if f.Records.Type(i) == dns.TypeDS {
					name := f.Records.Name(i)
					all[name] = append(all[name], dsFromRdata(name, f.Records.Rdata(i)))
				}
			}
		}
		t.ds[parent.Name] = all
	}
	return all[child]
}

// askDS asks a resolver which DS the parent has. No answer is a refusal: a
// zone whose DS does not fit goes dark for every validating resolver.
func (p *pass) askDS(j *job) string {
	set, err := p.resolveDS(j.z.Name)
	if err != nil {
		return fmt.Sprintf("ask for the DS of %s at its parent: %s", j.z.Name, err)
	}
	if len(set) == 0 {
		return ""
	}
	return p.matchDS(set, &j.z.Policy, j.z.Name, "its parent")
}

func (p *pass) resolveDS(apex domain.Name) ([]*dns.DS, error) {
	resolver := authority.Resolver(p.tree.Config.Resolver)
	if len(resolver) == 0 {
		var err error
		if resolver, err = authority.SystemResolver(); err != nil {
			return nil, err
		}
	}
	set, err := resolver.LookUp(p.ctx, apex, dns.TypeDS)
	var out []*dns.DS
	for _, rr := range set {
		out = append(out, rr.(*dns.DS))
	}
	return out, err
}
