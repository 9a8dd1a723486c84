package validate_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/validate"
)

// forger hands on what NSD answers, but for what it changes.
type forger struct {
	real   validate.Recursive
	mu     *sync.Mutex
	known  map[dns.Question]*dns.Msg
	change func(q dns.Question, m *dns.Msg) *dns.Msg
}

func (f forger) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	question := q.Question[0]
	question.Name = strings.ToLower(question.Name)
	f.mu.Lock()
	m := f.known[question]
	f.mu.Unlock()
	if m == nil {
		in, err := f.real.Exchange(ctx, q)
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		f.known[question], m = in, in
		f.mu.Unlock()
	}
	m = m.Copy()
	if f.change != nil {
		m = f.change(question, m)
	}
	return m, nil
}

func (w *world) forger() forger {
	return forger{real: validate.Recursive{netip.MustParseAddrPort(w.nsd.Addr())}, mu: new(sync.Mutex), known: map[dns.Question]*dns.Msg{}}
}

func (w *world) deceived(f forger, change func(q dns.Question, m *dns.Msg) *dns.Msg) *validate.Validator {
	f.change = change
	return &validate.Validator{Resolver: f, Anchors: w.trust(), Now: w.now}
}

// fetch is the true answer.
func (f forger) fetch(t testing.TB, name, typ string) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	spelled, _, err := dns.UnpackDomainName([]byte(domain.MustParse(name).Wire()), 0)
	if err != nil {
		t.Fatal(err)
	}
	q.SetQuestion(spelled, dns.StringToType[typ])
	q.SetEdns0(1232, true)
	f.change = nil
	m, err := f.Exchange(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// smallWorld has one zone of each kind.
func smallWorld(t *testing.T) *world {
	return newWorld(t, map[string]signing{
		".": {tool: "bind"}, "lab.": {tool: "bind"}, "signed.lab.": {tool: "bind"}, "nsec3.lab.": {tool: "bind", nsec3: true},
		"optout.lab.": {tool: "bind", nsec3: true, optOut: true}, "kid.optout.lab.": {tool: "bind"}, "plain.optout.lab.": {},
		"kid.signed.lab.": {tool: "bind"}, "plain.signed.lab.": {}, "kid.nsec3.lab.": {tool: "bind"}, "plain.nsec3.lab.": {},
		"unsigned.lab.": {}, "bogus.lab.": {tool: "bind", spoil: "www A"},
	})
}

// without drops what a test says from all sections.
func without(m *dns.Msg, drop func(dns.RR) bool) *dns.Msg {
	m.Answer = slices.DeleteFunc(m.Answer, drop)
	m.Ns = slices.DeleteFunc(m.Ns, drop)
	return m
}

func isSig(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG }

func isDenial(rr dns.RR) bool {
	typ := covered(rr)
	return typ == dns.TypeNSEC || typ == dns.TypeNSEC3
}

// covered is the type of an RRset that a record is part of or signs.
func covered(rr dns.RR) uint16 {
	if sig, ok := rr.(*dns.RRSIG); ok {
		return sig.TypeCovered
	}
	return rr.Header().Rrtype
}

// TestForgeries: each is one attack, and none makes anything of the answer but
// bogus, unless it does no harm.
func TestForgeries(t *testing.T) {
	w := smallWorld(t)
	f := w.forger()
	set := func(name, typ string) *dns.Msg { return f.fetch(t, name, typ) }
	type change = func(m *dns.Msg) *dns.Msg
	drop := func(what func(dns.RR) bool) change {
		return func(m *dns.Msg) *dns.Msg { return without(m, what) }
	}
	answerOf := func(name, typ string) change { return func(*dns.Msg) *dns.Msg { return set(name, typ) } }
	owner := func(m *dns.Msg, from, to string) *dns.Msg {
		for _, rr := range m.Answer {
			if strings.EqualFold(rr.Header().Name, from) {
				rr.Header().Name = to
			}
		}
		return m
	}
	record := func(text string) dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return rr
	}
	for _, tt := range []struct {
		what      string
		name, typ string
		on        string // the question whose answer is changed
		change    change
		want      verdict
		reason    string
	}{
		{"signatures stripped", "www.signed.lab.", "A", "www.signed.lab. A", drop(isSig), verdict{status: validate.Bogus}, "www.signed.lab. A: no RRSIG"},
		{"denial stripped", "nope.signed.lab.", "A", "nope.signed.lab. A", drop(isDenial), verdict{status: validate.Bogus}, "nope.signed.lab. A is absent, and no NSEC or NSEC3 proves it"},
		{"denial stripped, NSEC3", "nope.nsec3.lab.", "A", "nope.nsec3.lab. A", drop(isDenial), verdict{status: validate.Bogus}, "nope.nsec3.lab. A is absent, and no NSEC or NSEC3 proves it"},
		{"denial unsigned", "nope.signed.lab.", "A", "nope.signed.lab. A", drop(isSig), verdict{status: validate.Bogus}, "nope.signed.lab. A is absent, and NSEC of _25._tcp.mail.signed.lab.: no RRSIG"},
		{"all gone", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg { m.Answer = nil; return m }, verdict{status: validate.Bogus}, "no NSEC or NSEC3 proves it"},
		{"said not to exist", "www.signed.lab.", "A", "www.signed.lab. A", answerOf("nope.signed.lab.", "A"), verdict{status: validate.Bogus}, "no NSEC or NSEC3 proves it"},
		{"said to have none", "www.signed.lab.", "A", "www.signed.lab. A", answerOf("www.signed.lab.", "MX"), verdict{status: validate.Bogus}, "no NSEC or NSEC3 proves it"},
		{"said to have none, NSEC3", "www.nsec3.lab.", "A", "www.nsec3.lab. A", answerOf("www.nsec3.lab.", "MX"), verdict{status: validate.Bogus}, "the NSEC3 of www.nsec3.lab. does not prove it"},
		{"an alias hidden", "alias.signed.lab.", "A", "alias.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer, m.Ns = nil, nsecAt(t, w, "signed.lab.", "alias.signed.lab.")
			return m
		}, verdict{status: validate.Bogus}, "no NSEC or NSEC3 proves it"},
		{"wildcard without proof", "q.wild.signed.lab.", "A", "q.wild.signed.lab. A", drop(isDenial), verdict{status: validate.Bogus}, "q.wild.signed.lab. A comes from a wildcard: no NSEC or NSEC3 proves it"},
		{"wildcard without proof, NSEC3", "q.wild.nsec3.lab.", "A", "q.wild.nsec3.lab. A", drop(isDenial), verdict{status: validate.Bogus}, "q.wild.nsec3.lab. A comes from a wildcard: no NSEC or NSEC3 proves it"},
		{"wildcard over a name", "in.wild.signed.lab.", "A", "in.wild.signed.lab. A", func(*dns.Msg) *dns.Msg {
			return owner(set("q.wild.signed.lab.", "A"), "q.wild.signed.lab.", "in.wild.signed.lab.")
		}, verdict{status: validate.Bogus}, "in.wild.signed.lab. A comes from a wildcard: no NSEC or NSEC3 proves it"},
		{"wildcard over a name, NSEC3", "in.wild.nsec3.lab.", "TXT", "in.wild.nsec3.lab. TXT", func(*dns.Msg) *dns.Msg {
			return owner(set("q.wild.nsec3.lab.", "TXT"), "q.wild.nsec3.lab.", "in.wild.nsec3.lab.")
		}, verdict{status: validate.Bogus}, "in.wild.nsec3.lab. TXT comes from a wildcard: no NSEC or NSEC3 proves it"},
		{"wildcard DNAME", "x.q.wc.signed.lab.", "A", "x.q.wc.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer = owner(set("tree.signed.lab.", "DNAME"), "tree.signed.lab.", "q.wc.signed.lab.").Answer
			return m
		}, verdict{status: validate.Bogus}, "q.wc.signed.lab. DNAME: RRSIG of key"},
		{"other data", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer[0] = record("www.signed.lab. 300 A 192.0.2.66")
			return m
		}, verdict{status: validate.Bogus}, "does not match"},
		{"data added", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer = append(m.Answer, record("www.signed.lab. 300 A 192.0.2.66"))
			return m
		}, verdict{status: validate.Bogus}, "does not match"},
		{"data taken away", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg { m.Answer = m.Answer[1:]; return m }, verdict{status: validate.Bogus}, "does not match"},
		{"an alias put in", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer = []dns.RR{record("www.signed.lab. 300 CNAME evil.example.")}
			return m
		}, verdict{status: validate.Bogus}, "www.signed.lab. CNAME: no RRSIG"},
		{"a DNAME put in", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer = []dns.RR{record("signed.lab. 300 DNAME evil.example.")}
			return m
		}, verdict{status: validate.Bogus}, "signed.lab. DNAME: no RRSIG"},
		{"labels of the signature", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			for _, rr := range m.Answer {
				if sig, ok := rr.(*dns.RRSIG); ok {
					sig.Labels = 1
				}
			}
			return m
		}, verdict{status: validate.Bogus}, "does not match"},
		{"signer below", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			for _, rr := range m.Answer {
				if sig, ok := rr.(*dns.RRSIG); ok {
					sig.SignerName = "www.signed.lab."
				}
			}
			return m
		}, verdict{status: validate.Bogus}, "RRSIG made by www.signed.lab., not by signed.lab."},
		{"the child denies its DS", "www.kid.signed.lab.", "A", "kid.signed.lab. DS", func(m *dns.Msg) *dns.Msg {
			m.Answer, m.Ns = nil, append(set("kid.signed.lab.", "A").Ns, set("kid.signed.lab.", "SOA").Answer...)
			return m
		}, verdict{status: validate.Bogus}, "kid.signed.lab. DS is absent, and NSEC of kid.signed.lab.: RRSIG made by kid.signed.lab., not by signed.lab."},
		{"no DS, by the next one's proof", "www.kid.signed.lab.", "A", "kid.signed.lab. DS", answerOf("plain.signed.lab.", "DS"), verdict{status: validate.Bogus}, "no NSEC or NSEC3 proves it"},
		{"no DS, by the next one's proof, NSEC3", "www.kid.nsec3.lab.", "A", "kid.nsec3.lab. DS", answerOf("plain.nsec3.lab.", "DS"), verdict{status: validate.Bogus}, "no NSEC or NSEC3 proves it"},
		{"no DS, by opt-out", "www.kid.optout.lab.", "A", "kid.optout.lab. DS", answerOf("plain.optout.lab.", "DS"), verdict{status: validate.Bogus}, ""},
		{"no DS, unproved", "www.unsigned.lab.", "A", "unsigned.lab. DS", drop(isDenial), verdict{status: validate.Bogus}, "unsigned.lab. DS is absent, and no NSEC or NSEC3 proves it"},
		{"other keys", "www.signed.lab.", "A", "signed.lab. DNSKEY", answerOf("kid.signed.lab.", "DNSKEY"), verdict{status: validate.Bogus}, "signed.lab. has a DS and no DNSKEY"},
		{"no keys", "www.signed.lab.", "A", "signed.lab. DNSKEY", func(m *dns.Msg) *dns.Msg { m.Answer = nil; return m }, verdict{status: validate.Bogus}, "signed.lab. has a DS and no DNSKEY"},
		{"keys renamed", "www.signed.lab.", "A", "signed.lab. DNSKEY", func(*dns.Msg) *dns.Msg {
			return owner(set("kid.signed.lab.", "DNSKEY"), "kid.signed.lab.", "signed.lab.")
		}, verdict{status: validate.Bogus}, "no DNSKEY of signed.lab. is one of its DS"},
		{"the parent's NSEC for the child", "kid.signed.lab.", "A", "kid.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer, m.Ns = nil, nsecAt(t, w, "signed.lab.", "kid.signed.lab.")
			return m
		}, verdict{status: validate.Bogus}, "RRSIG made by signed.lab., not by kid.signed.lab."},
		{"the parent's NSEC for what is in the child", "www.kid.signed.lab.", "A", "www.kid.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Rcode, m.Answer = dns.RcodeNameError, nil
			m.Ns = append(nsecAt(t, w, "signed.lab.", "kid.signed.lab."), nsecAt(t, w, "signed.lab.", "signed.lab.")...)
			return m
		}, verdict{status: validate.Bogus}, ""},
		{"the NSEC of a DNAME for what is below", "q.tree.signed.lab.", "A", "q.tree.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Rcode, m.Answer = dns.RcodeNameError, nil
			m.Ns = append(nsecAt(t, w, "signed.lab.", "tree.signed.lab."), nsecAt(t, w, "signed.lab.", "signed.lab.")...)
			return m
		}, verdict{status: validate.Bogus}, "no NSEC or NSEC3 proves it"},
		{"target of a DNAME", "q.tree.signed.lab.", "A", "q.tree.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			for _, rr := range m.Answer {
				if c, ok := rr.(*dns.CNAME); ok {
					c.Target = "evil.example."
				}
			}
			return m
		}, verdict{validate.Secure, validate.Data}, "q.wild.signed.lab. A is signed by signed.lab."},
		{"rcode", "nope.signed.lab.", "A", "nope.signed.lab. A", func(m *dns.Msg) *dns.Msg { m.Rcode = 0; return m }, verdict{validate.Secure, validate.NXDomain}, "signed.lab. proves that nope.signed.lab. A does not exist"},
		{"rcode the other way", "www.signed.lab.", "MX", "www.signed.lab. MX", func(m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeNameError; return m }, verdict{validate.Secure, validate.NoData}, ""},
		{"case", "www.signed.lab.", "TXT", "www.signed.lab. TXT", func(m *dns.Msg) *dns.Msg { return owner(m, "www.signed.lab.", "WwW.sIgned.LAB.") }, verdict{validate.Secure, validate.Data}, ""},
		{"noise", "www.signed.lab.", "A", "www.signed.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer = append([]dns.RR{record("www.signed.lab. 300 RRSIG A 13 3 300 20000101000000 19990101000000 1 signed.lab. AAAA"), record("evil. 300 A 192.0.2.66")}, m.Answer...)
			return m
		}, verdict{validate.Secure, validate.Data}, ""},
		{"insecure with a signature from above", "www.unsigned.lab.", "A", "www.unsigned.lab. A", func(m *dns.Msg) *dns.Msg {
			m.Answer = append(m.Answer, record("www.unsigned.lab. 300 RRSIG A 13 3 300 20300101000000 20200101000000 1 lab. AAAA"))
			return m
		}, verdict{validate.Insecure, validate.Data}, "lab. proves that unsigned.lab. has no DS"},
		{"refused", "www.signed.lab.", "A", "lab. DNSKEY", func(m *dns.Msg) *dns.Msg { m.Rcode = dns.RcodeServerFailure; return m }, verdict{status: validate.Indeterminate}, "no answer for lab. DNSKEY: the resolver answers SERVFAIL"},
	} {
		changed := false
		v := w.deceived(f, func(q dns.Question, m *dns.Msg) *dns.Msg {
			if fmt.Sprintf("%s %s", q.Name, dns.TypeToString[q.Qtype]) != tt.on {
				return m
			}
			changed = true
			return tt.change(m)
		})
		a := lookUp(t, v, tt.name, tt.typ)
		if got := (verdict{a.Status, a.Exists}); got != tt.want || !strings.Contains(a.Reason, tt.reason) || !changed {
			t.Errorf("%s: %v (%s), want %v (%s); the answer was changed: %v", tt.what, got, a.Reason, tt.want, tt.reason, changed)
		}
		if a.Status == validate.Bogus && len(a.RRs) > 0 {
			t.Errorf("%s: bogus, and gives %v", tt.what, a.RRs)
		}
	}
}

// nsecAt is the NSEC of a zone's file at a name, with its signature.
func nsecAt(t testing.TB, w *world, zone, name string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, rr := range zoneRecords(t, w.file(zone), zone) {
		if rr.Header().Name == name && covered(rr) == dns.TypeNSEC {
			out = append(out, rr)
		}
	}
	if len(out) != 2 {
		t.Fatalf("NSEC at %s of %s: %v", name, zone, out)
	}
	return out
}

// TestEveryRecordIsNeeded takes each record of each denial away, breaks each
// signature, and puts each answer in the place of each other: what is then still
// secure must be true.
func TestEveryRecordIsNeeded(t *testing.T) {
	w := smallWorld(t)
	f := w.forger()
	for _, zone := range []string{"signed.lab.", "nsec3.lab."} {
		for _, question := range questions() {
			o, typ, _ := strings.Cut(question, " ")
			name := full(o, zone)
			truth := lookUp(t, w.deceived(f, nil), name, typ)
			switch {
			case truth.Status != validate.Secure, len(truth.Aliases) > 0, dns.StringToType[typ] == 0:
				continue
			case strings.Contains(name, "tree"), typ == "DNSKEY", strings.HasPrefix(name, "*."):
				continue // the CNAME that is not signed; two signatures; NSD proves more than it must
			}
			m := f.fetch(t, name, typ)
			records := len(m.Answer) + len(m.Ns)
			for i := range records {
				if rr := slices.Concat(m.Answer, m.Ns)[i]; covered(rr) == dns.TypeSOA && typ != "SOA" || covered(rr) == dns.TypeNS {
					continue // of no account
				}
				for what, change := range map[string]func(*dns.Msg){
					"taken away": func(m *dns.Msg) {
						if i < len(m.Answer) {
							m.Answer = slices.Delete(m.Answer, i, i+1)
						} else {
							m.Ns = slices.Delete(m.Ns, i-len(m.Answer), i-len(m.Answer)+1)
						}
					},
					"renamed": func(m *dns.Msg) {
						rr := slices.Concat(m.Answer, m.Ns)[i]
						rr.Header().Name = "x" + rr.Header().Name
					},
				} {
					v := w.deceived(f, func(q dns.Question, m *dns.Msg) *dns.Msg {
						if domain.MustParse(q.Name) == domain.MustParse(name) && dns.TypeToString[q.Qtype] == typ {
							change(m)
						}
						return m
					})
					if a := lookUp(t, v, name, typ); a.Status != validate.Bogus {
						t.Errorf("%s %s, %v %s: %s, %s (%s)", name, typ, slices.Concat(m.Answer, m.Ns)[i], what, a.Status, a.Exists, a.Reason)
					}
				}
			}
		}
	}
}

// TestReplays gives to each question the true answer to each other one.
func TestReplays(t *testing.T) {
	w := smallWorld(t)
	for _, zone := range []string{"signed.lab.", "nsec3.lab."} {
		f := w.forger()
		var asked []dns.Question
		var truths []validate.Answer
		for _, question := range questions() {
			o, typ, _ := strings.Cut(question, " ")
			if dns.StringToType[typ] == 0 {
				continue
			}
			name := strings.ToLower(full(o, zone))
			name = strings.ReplaceAll(name, "\\032", "\\ ") // as miekg/dns spells it
			asked = append(asked, dns.Question{Name: name, Qtype: dns.StringToType[typ], Qclass: dns.ClassINET})
			truths = append(truths, lookUp(t, w.deceived(f, nil), name, typ))
		}
		secure := 0
		for i, q := range asked {
			var other dns.Question
			rename := false
			change := func(is dns.Question, m *dns.Msg) *dns.Msg {
				if is.Name != q.Name || is.Qtype != q.Qtype {
					return m
				}
				m = f.fetch(t, other.Name, dns.TypeToString[other.Qtype])
				if rename {
					for _, rr := range m.Answer {
						if strings.EqualFold(rr.Header().Name, other.Name) {
							rr.Header().Name = q.Name
						}
					}
				}
				return m
			}
			shared := w.deceived(f, change)
			for j := range asked {
				for _, rename = range []bool{false, true} {
					other = asked[j]
					v := shared
					if q.Qtype == dns.TypeDS || q.Qtype == dns.TypeDNSKEY {
						v = w.deceived(f, change)
					}
					a := lookUp(t, v, q.Name, dns.TypeToString[q.Qtype])
					truth := truths[i]
					switch {
					case a.Status == validate.Bogus, a.Status == truth.Status && a.Exists == truth.Exists && a.Name == truth.Name && sameRecords(a.RRs, truth.RRs):
						if a.Status == validate.Secure {
							secure++
						}
					default:
						t.Errorf("%s %s, told what is true of %s %s: %s, %s (%s), in truth %s, %s", q.Name, dns.TypeToString[q.Qtype], other.Name,
							dns.TypeToString[other.Qtype], a.Status, a.Exists, a.Reason, truth.Status, truth.Exists)
					}
				}
			}
		}
		t.Logf("%s: %d questions, %d answers secure", zone, len(asked), secure)
	}
}

func sameRecords(a, b []dns.RR) bool {
	text := func(list []dns.RR) []string {
		var out []string
		for _, rr := range list {
			rr = dns.Copy(rr)
			rr.Header().Ttl = 0
			rr.Header().Name = dns.CanonicalName(rr.Header().Name)
			out = append(out, rr.String())
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(text(a), text(b))
}

// TestInstants: the same answers, before, within and after the signatures.
func TestInstants(t *testing.T) {
	w := smallWorld(t)
	f := w.forger()
	for _, tt := range []struct {
		after  time.Duration
		want   validate.Status
		reason string
	}{
		{0, validate.Secure, "www.signed.lab. A is signed by signed.lab."},
		{-time.Hour, validate.Secure, ""},
		{-time.Hour - time.Second, validate.Bogus, "trust"},
		{30*24*time.Hour - time.Second, validate.Secure, ""},
		{30*24*time.Hour + time.Second, validate.Bogus, ""},
		{100 * 365 * 24 * time.Hour, validate.Bogus, ""},
	} {
		v := w.deceived(f, nil)
		v.Now = w.now.Add(tt.after)
		a := lookUp(t, v, "www.signed.lab.", "A")
		if a.Status != tt.want {
			t.Errorf("after %v: %s (%s)", tt.after, a.Status, a.Reason)
		}
		if end := w.now.Add(30 * 24 * time.Hour); tt.want == validate.Secure && !a.Expires.Equal(end) {
			t.Errorf("after %v: expires %v, want %v", tt.after, a.Expires, end)
		}
		if left := a.Expires.Sub(v.Now); tt.want == validate.Secure && (a.TTL > left || a.TTL != min(left, 300*time.Second).Truncate(time.Second)) {
			t.Errorf("after %v: TTL %v, and the signatures last for %v", tt.after, a.TTL, left)
		}
	}
}
