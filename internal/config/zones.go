package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"github.com/pelletier/go-toml/v2/unstable"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// draft is a policy that is being read.
type draft struct {
	Policy
	spreadSet bool
	at        map[string]diag.Pos // keys that stand in this very table
	bad       map[string]bool     // keys whose value was refused, here or above
}

// newDraft begins with what is inherited; nil inherits the defaults.
func newDraft(from *draft) *draft {
	d := &draft{Policy: defaultPolicy(), at: map[string]diag.Pos{}, bad: map[string]bool{}}
	if from != nil {
		d.Policy, d.spreadSet, d.bad = from.Policy, from.spreadSet, maps.Clone(from.bad)
	}
	return d
}

// loadPolicies reads [policy], and every [policy.NAME] on top of it.
func (l *loader) loadPolicies(e *entry) {
	base := l.policies[""]
	own, named := &table{}, []*entry{}
	for _, e := range e.val.table.entries {
		switch {
		case e.val.table == nil:
			own.entries = append(own.entries, e)
		case e.key == "" || has(policyKeys(&base.Policy), e.key):
			l.errorf(e.at, "config-value", "[policy.%s]: a policy cannot be named like this", e.key)
		default:
			named = append(named, e)
		}
	}
	l.readPolicy(own, "policy", base)
	for _, e := range named {
		d := newDraft(base)
		l.readPolicy(e.val.table, "policy."+e.key, d)
		l.policies[e.key] = d
	}
}

// readPolicy reads the keys of a table and then checks them with each other.
func (l *loader) readPolicy(t *table, name string, d *draft) {
	for _, key := range l.read(t, name, policyKeys(&d.Policy)) {
		d.bad[key] = true
	}
	for _, e := range t.entries {
		d.at[e.key] = e.at
		d.spreadSet = d.spreadSet || e.key == "spread"
	}
	l.check(d)
}

// check reports what does not fit, at the first key of those it is about. What
// this table has nothing to do with was reported where it comes from, and what
// rests on a refused value is not worth a word.
func (l *loader) check(d *draft) {
	if !d.spreadSet {
		d.Spread = spreadOf(d.Validity, d.Refresh)
	}
	for _, m := range d.misfits() {
		here := slices.IndexFunc(m.keys, func(k string) bool { return d.at[k].IsValid() })
		if here < 0 || slices.ContainsFunc(m.keys, func(k string) bool { return d.bad[k] }) {
			continue
		}
		l.errorf(d.at[m.keys[here]], "config-value", "%s", m.message)
	}
}

// loadZones reads every [[zone]].
func (l *loader) loadZones(e *entry) {
	if e.val.kind != unstable.Array {
		l.errorf(e.at, "config-value", "zone: must be a list of tables: [[zone]]")
		return
	}
	for _, v := range e.val.list {
		if v.table == nil {
			l.errorf(v.at, "config-value", "zone: must be a list of tables: [[zone]]")
			continue
		}
		l.loadZone(v)
	}
}

// named is a name in the configuration.
type named struct {
	text string
	at   diag.Pos
}

// block is what one [[zone]] says, of all zones that it names.
type block struct {
	Zone
	from  string // a policy's name
	names []named
}

func (l *loader) zoneKeys(b *block) []key {
	return []key{
		{"names", func(v value) error {
			err := list(new([]string), func(string) error { return nil })(v)
			if err == nil {
				for _, e := range v.list {
					b.names = append(b.names, named{e.text, e.at})
				}
			}
			return err
		}},
		{"names-from", func(v value) error {
			var file string
			if err := localPath(&file)(v); err != nil {
				return err
			}
			names, err := l.namesFrom(file)
			if err == nil && len(names) == 0 {
				l.faults.Warnf(v.at, "config-no-zone", "", "%s names no zone", file)
			}
			b.names = append(b.names, names...)
			return err
		}},
		{"policy", func(v value) error {
			name, err := v.str()
			if err == nil && (name == "" || l.policies[name] == nil) {
				err = fmt.Errorf("there is no [policy.%s]", name)
			}
			b.from = name
			return err
		}},
		{"soa", localPath(&b.SOA)},
		{"primary", list(&b.Primary, checkPath)},
		{"ds", list(&b.DS, checkDS)},
	}
}

// loadZone reads one [[zone]]: its own keys, and those of a policy, which win
// over the policy that it names.
func (l *loader) loadZone(v value) {
	b := &block{}
	keys := l.zoneKeys(b)
	zone, policy := &table{}, &table{}
	ofPolicy := policyKeys(&Policy{})
	for _, e := range v.table.entries {
		if has(ofPolicy, e.key) {
			policy.entries = append(policy.entries, e)
		} else if has(keys, e.key) {
			zone.entries = append(zone.entries, e)
		} else {
			l.unknown(e, "[zone]", slices.Concat(keys, ofPolicy))
		}
	}
	failed := l.read(zone, "[zone]", keys)
	if slices.Contains(failed, "policy") {
		b.from = ""
	}
	d := newDraft(l.policies[b.from])
	l.readPolicy(policy, "[zone]", d)
	b.Policy = d.Policy
	if zone.find("names") == nil && zone.find("names-from") == nil {
		l.errorf(v.at, "config-value", "[[zone]] needs names or names-from")
	}
	if ds := zone.find("ds"); ds != nil && len(b.names) > 1 {
		l.errorf(ds.at, "config-value", "ds: %d zones cannot have the same keys: give each its own [[zone]]", len(b.names))
	}
	for _, n := range b.names {
		name, err := domain.Parse(n.text)
		if err != nil {
			l.errorf(n.at, "config-value", "zone %s", err)
			continue
		}
		l.addZone(b.Zone, name, n.at)
	}
}

func (l *loader) addZone(z Zone, name domain.Name, at diag.Pos) {
	if first, ok := l.places[name]; ok {
		l.faults.Errorf(at, "config-zone-twice", name.String(), "the zone stands twice").At(first, "the first")
		return
	}
	l.places[name] = at
	z.Name, z.Pos = name, at
	if z.SOA == "" {
		z.SOA = path.Join(l.Paths.SOA, name.FileName())
	}
	if z.Primary == nil {
		z.Primary = []string{path.Join(l.Paths.Primary, name.FileName())}
	}
	l.Zones = append(l.Zones, z)
}

// checkDS reads a DS record, whole or only its data.
func checkDS(s string) error {
	bad := fmt.Errorf("%q is not TAG ALGORITHM DIGEST-TYPE DIGEST", s)
	rr, err := dns.NewRR(s)
	if err != nil || rr == nil || rr.Header().Rrtype != dns.TypeDS {
		rr, err = dns.NewRR(". 0 IN DS " + s)
	}
	ds, ok := rr.(*dns.DS)
	if err != nil || !ok {
		return bad
	}
	digest, err := hex.DecodeString(ds.Digest)
	if err != nil {
		return bad
	}
	want := map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.SHA384: 48}[ds.DigestType]
	switch {
	case want == 0:
		return fmt.Errorf("digest type %d is not one of 1, 2, 4", ds.DigestType)
	case len(digest) != want:
		return fmt.Errorf("a digest of type %d has %d octets, not %d", ds.DigestType, want, len(digest))
	case strings.ContainsAny(s, "\n\r"):
		return errors.New("must be one line")
	}
	return nil
}
