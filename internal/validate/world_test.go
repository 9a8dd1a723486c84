package validate_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
	"zonebuild/internal/validate"
)

// signing says how a zone of the world is signed, and by whose program.
type signing struct {
	tool      string // "bind", "ldns"; "" = unsigned
	algorithm string // as the tool names it; "" = ECDSAP256SHA256
	nsec3     bool
	optOut    bool // bind only
	iter      int
	age       time.Duration // the signatures are so much older
	ds        []string      // how the parent names it: digests such as "2"; "none", "wrong", "odd"
	spoil     string        // "owner TYPE" whose signature is broken after signing
}

// plan is the world: a fake root and what hangs below it.
func plan() map[string]signing {
	return map[string]signing{
		".":                       {tool: "bind"},
		"lab.":                    {tool: "bind"},
		"signed.lab.":             {tool: "bind"},
		"kid.signed.lab.":         {tool: "bind", nsec3: true},
		"deep.er.signed.lab.":     {tool: "ldns"},
		"plain.signed.lab.":       {},
		"x.plain.signed.lab.":     {tool: "bind", ds: []string{"2"}}, // an island below an unsigned zone
		"nsec3.lab.":              {tool: "bind", nsec3: true},
		"kid.nsec3.lab.":          {tool: "bind"},
		"plain.nsec3.lab.":        {},
		"far.plain.nsec3.lab.":    {},
		"optout.lab.":             {tool: "bind", nsec3: true, optOut: true},
		"kid.optout.lab.":         {tool: "bind"},
		"plain.optout.lab.":       {},
		"in.deep.optout.lab.":     {}, // an empty non-terminal that has no NSEC3
		"unsigned.lab.":           {},
		"nods.lab.":               {tool: "bind", ds: []string{"none"}},
		"ldns.lab.":               {tool: "ldns"},
		"ldns3.lab.":              {tool: "ldns", nsec3: true, iter: 5},
		"rsa.lab.":                {tool: "bind", algorithm: "RSASHA256"},
		"rsa512.lab.":             {tool: "bind", algorithm: "RSASHA512", nsec3: true},
		"p384.lab.":               {tool: "bind", algorithm: "ECDSAP384SHA384", ds: []string{"4"}},
		"ed.lab.":                 {tool: "bind", algorithm: "ED25519"},
		"ed448.lab.":              {tool: "bind", algorithm: "ED448"},
		"sha1ds.lab.":             {tool: "bind", ds: []string{"1"}},
		"allds.lab.":              {tool: "bind", ds: []string{"1", "2", "4"}},
		"wrongds.lab.":            {tool: "bind", ds: []string{"wrong"}},
		"onegood.lab.":            {tool: "bind", ds: []string{"wrong", "2"}},
		"oddds.lab.":              {tool: "bind", ds: []string{"odd"}},
		"expired.lab.":            {tool: "bind", age: 60 * 24 * time.Hour},
		"future.lab.":             {tool: "bind", age: -60 * 24 * time.Hour},
		"bogus.lab.":              {tool: "bind", spoil: "www A"},
		"bogusnsec3.lab.":         {tool: "bind", nsec3: true, spoil: "@ NSEC3PARAM"},
		"boguskey.lab.":           {tool: "bind", spoil: "@ DNSKEY"},
		"kid.boguskey.lab.":       {tool: "bind"},
		"manyiterations.lab.":     {tool: "ldns", nsec3: true, iter: 151},
		"mostiterations.lab.":     {tool: "bind", nsec3: true, iter: 150},
		"kid.mostiterations.lab.": {},
	}
}

// content is in every zone.
const content = `
ns        A 192.0.2.1
www       A 192.0.2.2
www       A 192.0.2.3
www       AAAA 2001:db8::2
WwW       TXT "mixed Case"
@         MX 10 Mail
mail      A 192.0.2.4
_25._tcp.mail  TLSA 3 1 1 8bd1da95272f7fa4ffb24137fc0ed03aae67e5c4d8b3c50734e1050a7920b922
_443._tcp.www  TLSA 3 1 1 8bd1da95272f7fa4ffb24137fc0ed03aae67e5c4d8b3c50734e1050a7920b922
_sip._tcp SRV 0 0 5060 www
*.wild    A 192.0.2.5
*.wild    TXT "wild"
in.wild   A 192.0.2.6
*._tcp.wildtlsa TLSA 3 1 1 8bd1da95272f7fa4ffb24137fc0ed03aae67e5c4d8b3c50734e1050a7920b922
a.b.ent   A 192.0.2.7
c.*.wildent A 192.0.2.9
alias     CNAME www
alias2    CNAME alias
nowhere   CNAME nope
*.wc      CNAME www
toplain   CNAME www.unsigned.lab.
tobogus   CNAME www.bogus.lab.
tonsec3   CNAME www.nsec3.lab.
towild    CNAME q.wild.nsec3.lab.
tonone    CNAME nope.nsec3.lab.
loop      CNAME pool
pool      CNAME loop
tree      DNAME wild
treeplain DNAME unsigned.lab.
treenone  DNAME nope.nsec3.lab.
longtree  DNAME abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz.lab.
tree2     TYPE65280 \# 4 0a000001
e\.sc\032aped A 192.0.2.8
`

// questions are put to every zone.
func questions() []string {
	return []string{
		"@ SOA", "@ NS", "@ DNSKEY", "@ MX", "@ A", "@ DS", "@ NSEC3PARAM", "@ TLSA", "www A", "wWw AAAA", "www TXT", "www MX", "www DS",
		"x.www A", "mail A", "_25._tcp.mail TLSA", "_443._tcp.www TLSA", "_26._tcp.mail TLSA", "_tcp.mail A", "_tcp.mail TLSA", "_sip._tcp SRV",
		"wild A", "q.wild A", "q.wild TXT", "q.wild AAAA", "q.wild DS", "a.b.c.wild A", "a.b.c.wild MX", "in.wild A", "in.wild TXT", "x.in.wild A", "*.wild A", "*.wild AAAA",
		"_25._tcp.wildtlsa TLSA", "_25._tcp.wildtlsa A", "ent A", "b.ent A", "b.ent DS", "a.b.ent A", "x.b.ent A", "x.ent A", "x.wildent A", "x.wildent TXT",
		"alias A", "alias AAAA", "alias MX", "alias CNAME", "alias DS", "alias2 A", "x.alias A", "nowhere A", "q.wc A", "q.wc MX", "q.wc CNAME", "wc A",
		"toplain A", "toplain MX", "toplain CNAME", "tobogus A", "tonsec3 A", "tonsec3 TLSA", "towild A", "towild TXT", "towild MX", "tonone A", "loop A",
		"tree A", "tree DNAME", "q.tree A", "in.tree A", "a.b.tree TXT", "q.tree MX", "q.tree CNAME", "www.treeplain A", "q.treenone A", "q.treeplain CNAME",
		"tree2 TYPE65280", "e\\.sc\\032aped A", "nope A", "nope DS", "nope.nope TLSA", "a.very.deep.name.that.is.not A", "zzz A", "0 A", "\\000 A", "~ TXT",
	}
}

// world is a tree of signed zones in one NSD, and the resolvers before it.
type world struct {
	t       testing.TB
	now     time.Time
	plan    map[string]signing
	dir     string
	anchors []string
	nsd     *lab.NSDServer
}

// newWorld signs all zones, children first.
func newWorld(t testing.TB, plan map[string]signing) *world {
	t.Helper()
	lab.Need(t, "nsd", "unbound", "dnssec-keygen", "dnssec-signzone", "dnssec-dsfromkey", "ldns-keygen", "ldns-signzone", "ldns-key2ds")
	w := &world{t: t, now: time.Now().Truncate(time.Second), plan: plan, dir: t.TempDir()}
	names := w.names()
	slices.Reverse(names)
	glue := map[string]string{} // of a zone's children
	for _, name := range names {
		text := fmt.Sprintf("$ORIGIN %s\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 200\n@ NS ns\n", name) + content + glue[name]
		signed, ds := w.sign(name, text, plan[name])
		if err := os.WriteFile(w.file(name), signed, 0o644); err != nil {
			t.Fatal(err)
		}
		if name == "." {
			w.anchors = ds
			break
		}
		up := domain.MustParse(name).Parent()
		for !slices.Contains(names, up.String()) {
			up = up.Parent()
		}
		glue[up.String()] += fmt.Sprintf("%s NS ns.%s\nns.%s A 192.0.2.1\n%s\n", name, name, name, strings.Join(ds, "\n"))
	}
	w.nsd = lab.NSD(t, lab.NSDOptions{
		Dir: w.dir, Zones: slices.DeleteFunc(names, func(n string) bool { return n == "." }),
		Config: fmt.Sprintf("zone:\n\tname: \".\"\n\tzonefile: %q\n", w.file(".")), // NSD expands %2 in a file's name
	})
	return w
}

func (w *world) file(zone string) string {
	if zone == "." {
		return filepath.Join(w.dir, "root")
	}
	return filepath.Join(w.dir, domain.MustParse(zone).FileName())
}

// names of the zones, parents first.
func (w *world) names() []string {
	var names []string
	for name := range w.plan {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return domain.MustParse(a).Compare(domain.MustParse(b)) })
	return names
}

func (w *world) sign(zone, text string, s signing) (signed []byte, ds []string) {
	w.t.Helper()
	dir := w.t.TempDir()
	in, out := filepath.Join(dir, "zone"), filepath.Join(dir, "zone.signed")
	if err := os.WriteFile(in, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	algorithm := s.algorithm
	if algorithm == "" {
		algorithm = "ECDSAP256SHA256"
	}
	const stamp = "20060102150405"
	from, to := w.now.Add(-s.age-time.Hour).UTC().Format(stamp), w.now.Add(-s.age+30*24*time.Hour).UTC().Format(stamp)
	var ksk string
	switch s.tool {
	case "":
		return []byte(text), nil
	case "bind":
		keygen := []string{"-q", "-K", dir, "-a", algorithm}
		if strings.HasPrefix(algorithm, "RSA") {
			keygen = append(keygen, "-b", "2048")
		}
		ksk = filepath.Join(dir, strings.TrimSpace(lab.Run(w.t, "dnssec-keygen", append(keygen, "-f", "KSK", zone)...)))
		lab.Run(w.t, "dnssec-keygen", append(keygen, zone)...)
		args := []string{"-q", "-P", "-S", "-K", dir, "-d", dir, "-o", zone, "-f", out, "-s", from, "-e", to}
		if s.nsec3 {
			args = append(args, "-3", "abcd", "-H", fmt.Sprint(s.iter))
		}
		if s.optOut {
			args = append(args, "-A")
		}
		lab.RunIn(w.t, dir, "dnssec-signzone", append(args, in)...)
	case "ldns":
		var zsk string
		ksk, zsk = lab.LDNSKeys(w.t, zone)
		args := []string{"-i", from, "-e", to, "-o", zone, "-f", out}
		if s.nsec3 {
			args = append(args, "-n", "-t", fmt.Sprint(s.iter))
		}
		lab.Run(w.t, "ldns-signzone", append(args, in, ksk, zsk)...)
	}
	signed, err := os.ReadFile(out)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.spoil != "" {
		signed = w.spoil(zone, signed, s.spoil)
	}
	return signed, w.dsOf(zone, ksk+".key", s.ds)
}

// spoil breaks the signature of an RRset.
func (w *world) spoil(zone string, text []byte, what string) []byte {
	w.t.Helper()
	owner, typ, _ := strings.Cut(what, " ")
	name := full(owner, zone)
	var out bytes.Buffer
	found := false
	p := dns.NewZoneParser(bytes.NewReader(text), zone, "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if sig, is := rr.(*dns.RRSIG); is && dns.CanonicalName(sig.Hdr.Name) == dns.CanonicalName(name) && sig.TypeCovered == dns.StringToType[typ] {
			b, err := base64.StdEncoding.DecodeString(sig.Signature)
			if err != nil {
				w.t.Fatal(err)
			}
			b[10] ^= 1
			sig.Signature, found = base64.StdEncoding.EncodeToString(b), true
		}
		fmt.Fprintln(&out, rr)
	}
	if p.Err() != nil || !found {
		w.t.Fatalf("spoil %s of %s: found %v, %v", what, zone, found, p.Err())
	}
	return out.Bytes()
}

func (w *world) dsOf(zone, key string, kinds []string) []string {
	w.t.Helper()
	if len(kinds) == 0 {
		kinds = []string{"2"}
	}
	digest := map[string]string{"1": "SHA-1", "2": "SHA-256", "4": "SHA-384"}
	var out []string
	for _, kind := range kinds {
		var ds string
		if kind == "none" {
			continue
		}
		program := digest[kind]
		if program == "" {
			program = "SHA-256"
		}
		ds = strings.TrimSpace(lab.Run(w.t, "dnssec-dsfromkey", "-a", program, key))
		rr, err := dns.NewRR(ds)
		if err != nil {
			w.t.Fatal(err)
		}
		switch r := rr.(*dns.DS); kind {
		case "wrong":
			r.Digest = strings.Repeat("ab", 32)
		case "odd": // GOST
			r.DigestType = 3
		}
		rr.Header().Ttl = 300
		out = append(out, rr.String())
	}
	return out
}

// full is a name as the questions write it.
func full(owner, zone string) string {
	if owner == "@" {
		return zone
	}
	if zone == "." {
		return owner + "."
	}
	return owner + "." + zone
}

// unbound is a validating resolver of this world; it only fetches for who asks
// with CD.
func (w *world) unbound() *lab.Resolver {
	stubs := map[string]string{}
	for name := range w.plan {
		stubs[name] = w.nsd.Addr()
	}
	return lab.Unbound(w.t, lab.UnboundOptions{Stubs: stubs, Anchors: w.anchors, Server: "\taggressive-nsec: no\n"})
}

func (w *world) trust() []validate.Anchor {
	w.t.Helper()
	a, err := validate.ReadAnchors(strings.NewReader(strings.Join(w.anchors, "\n")), "anchors")
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// validator asks a resolver at an address.
func (w *world) validator(addr string) *validate.Validator {
	return &validate.Validator{Resolver: validate.Recursive{netip.MustParseAddrPort(addr)}, Anchors: w.trust(), Now: w.now}
}

// direct asks NSD itself, which has all zones and follows no alias out of one.
func (w *world) direct() *validate.Validator { return w.validator(w.nsd.Addr()) }

func lookUp(t testing.TB, s validate.Source, name string, typ string) validate.Answer {
	t.Helper()
	number, ok := dns.StringToType[typ]
	if !ok {
		if _, err := fmt.Sscanf(typ, "TYPE%d", &number); err != nil {
			t.Fatalf("no such type: %s", typ)
		}
	}
	a, err := s.LookUp(context.Background(), domain.MustParse(name), number)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func zoneRecords(t testing.TB, file, zone string) []dns.RR {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []dns.RR
	p := dns.NewZoneParser(f, zone, "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		out = append(out, rr)
	}
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	return out
}
