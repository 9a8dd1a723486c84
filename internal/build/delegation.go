package build

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/config"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/guard"
	"zonebuild/zone"
)

// delegation compares DS and DNSKEY on both sides of each zone cut of the
// tree, and, before a zone is first published signed, with its parent outside.
func (p *pass) delegation(j *job, z *zone.Zone, f *guard.Facts) {
	if why := p.children(z); why != "" {
		f.ParentInTree, f.DS = true, why
		return
	}
	parent, set, err := p.tree.parentDS(j.z.Name)
	if parent != nil && err == nil {
		f.ParentInTree = true
		if len(set) > 0 {
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
	case err != nil:
		f.DS = fmt.Sprintf("look for the DS of %s in its parent zone %s: %s", j.z.Name, parent.Name, err)
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
	if policy.Sign == config.SignExternal {
		return "" // its keys are the other signer's
	}
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

// parentOf is the zone of this tree that delegates apex, or would if anybody did:
// the closest enclosing one, unless it gives a name between the two away. Errors:
// its sources cannot be read, so that nobody knows; then the zone is the one
// that may be the parent.
func (t *Tree) parentOf(apex domain.Name) (*config.Zone, error) {
	for n := apex; n != domain.Root; {
		n = n.Parent()
		z := t.Config.Find(n)
		if z == nil {
			continue
		}
		cuts := t.cutsOf(z)
		for between := apex.Parent(); between != n; between = between.Parent() {
			if cuts.at[between] {
				return nil, nil // its parent is somebody else's zone
			}
		}
		return z, cuts.err
	}
	return nil, nil
}

// parentDS are the parent of apex in this tree, if it has one there, and the DS
// records that it holds for apex.
func (t *Tree) parentDS(apex domain.Name) (*config.Zone, []*dns.DS, error) {
	parent, err := t.parentOf(apex)
	if parent == nil || err != nil {
		return parent, nil, err
	}
	return parent, t.cutsOf(parent).ds[apex], nil
}

// cuts are the delegations in the sources of a zone.
type cuts struct {
	at  map[domain.Name]bool
	ds  map[domain.Name][]*dns.DS
	err error // why they are not all known
}

// cutsOf reads the sources of a zone, once per pass.
func (t *Tree) cutsOf(z *config.Zone) cuts {
	t.cutsMu.Lock()
	defer t.cutsMu.Unlock()
	if c, ok := t.cuts[z.Name]; ok {
		return c
	}
	c := cuts{at: map[domain.Name]bool{}, ds: map[domain.Name][]*dns.DS{}}
	src := t.hostSources(z)
	switch {
	case src.absent:
		c.err = fmt.Errorf("the sources of %s are in other hands", z.Name)
	case src.faults.HasErrors():
		c.err = errors.New(firstError(src.faults))
	}
	for _, f := range src.fragments {
		for i := 0; f.Records != nil && i < f.Records.Len(); i++ {
			switch f.Records.Type(i) {
			case dns.TypeNS:
				name := f.Records.Name(i)
				c.at[name] = name != z.Name
			case dns.TypeDS:
				name := f.Records.Name(i)
				c.ds[name] = append(c.ds[name], dsFromRdata(name, f.Records.Rdata(i)))
			}
		}
	}
	t.cuts[z.Name] = c
	return c
}

// askDS asks a resolver which DS the parent has. No answer is a refusal: a
// zone whose DS does not fit goes dark for every validating resolver.
func (p *pass) askDS(j *job) string {
	set, err := p.dsBeside(j.z.Name)
	if err != nil {
		return fmt.Sprintf("ask for the DS of %s at its parent: %s", j.z.Name, err)
	}
	if len(set) == 0 {
		return ""
	}
	return p.matchDS(set, &j.z.Policy, j.z.Name, "its parent")
}

// dsBeside asks, beside the pass where that is possible.
func (p *pass) dsBeside(apex domain.Name) ([]*dns.DS, error) {
	if p.o.Beside == nil {
		return p.resolveDS(p.ctx, apex)
	}
	type found struct {
		set []*dns.DS
		err error
	}
	answer, ok := p.o.Beside.ask(apex, "ds "+apex.String(), p.forDS.of(dsPatience), func(ctx context.Context) any {
		set, err := p.resolveDS(ctx, apex)
		return found{set, err}
	})
	if !ok {
		return nil, fmt.Errorf("no answer within %s", dsPatience)
	}
	f := answer.(found)
	return f.set, f.err
}

func (p *pass) resolveDS(ctx context.Context, apex domain.Name) ([]*dns.DS, error) {
	resolver := authority.Resolver(p.tree.Config.Resolver)
	if len(resolver) == 0 {
		var err error
		if resolver, err = authority.SystemResolver(); err != nil {
			return nil, err
		}
	}
	set, err := resolver.LookUp(ctx, apex, dns.TypeDS)
	var out []*dns.DS
	for _, rr := range set {
		out = append(out, rr.(*dns.DS))
	}
	return out, err
}
