package verify

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// falseWildcard adds a name whose first label only begins with an asterisk,
// with the signature that miekg/dns makes of it: one label too few.
func falseWildcard(l *lines) {
	l.add("*foo.example.org. 3600 IN A 192.0.2.9", "*foo.example.org. 300 IN NSEC _sip._udp.example.org. A RRSIG NSEC")
	l.sign("*foo", "A")
	l.sign("*foo", "NSEC")
	l.edit("@", "NSEC", "_sip._udp", "*foo")
	l.sign("@", "NSEC")
}

func (l lines) get(owner, typ string) string {
	i := slices.IndexFunc(l, func(s string) bool { return is(s, owner, typ) })
	if i < 0 {
		panic("no " + typ + " at " + owner)
	}
	return l[i]
}

func (l *lines) dropWord(owner, typ, word string) {
	*l = slices.DeleteFunc(*l, func(s string) bool { return is(s, owner, typ) && slices.Contains(strings.Fields(s), word) })
}

// hashes gives the first labels of the NSEC3 records in order.
func (l lines) hashes() []string {
	var h []string
	for _, s := range l {
		if f := strings.Fields(s); f[3] == "NSEC3" {
			h = append(h, strings.TrimSuffix(f[0], ".example.org."))
		}
	}
	slices.Sort(h)
	return h
}

func (l lines) hash(i int) string { return l.hashes()[i] }

func (l *lines) dropHash(i int) {
	h := l.hash(i)
	l.drop(h, "NSEC3")
	l.drop(h, "RRSIG NSEC3")
}

// collision adds a key whose octets are those of the ZSK with two words of the
// key tag's sum exchanged.
func collision(l *lines) {
	rec, err := oneRecord(l.get("@", "DNSKEY"))
	if err != nil {
		panic(err)
	}
	k := slices.Clone(rec.rdata[4:])
	k[0], k[1], k[2], k[3] = k[2], k[3], k[0], k[1]
	l.add("example.org. 3600 IN DNSKEY 256 3 15 " + base64.StdEncoding.EncodeToString(k))
}

// leaveOut takes the NSEC3 of a name out of the chain and closes it; it gives
// the record before.
func (l *lines) leaveOut(name string) (before string) {
	h := strings.ToLower(dns.HashName(full(name), dns.SHA1, 0, ""))
	all := l.hashes()
	i := slices.Index(all, h)
	before = all[(i+len(all)-1)%len(all)]
	l.edit(before, "NSEC3", h, all[(i+1)%len(all)])
	l.sign(before, "NSEC3")
	l.drop(h, "NSEC3")
	l.drop(h, "RRSIG NSEC3")
	return before
}

// signKeysByZSK signs the DNSKEY set with the ZSK alone.
func (l *lines) signKeysByZSK() {
	var set []dns.RR
	for _, s := range *l {
		if is(s, "@", "DNSKEY") {
			rr, err := dns.NewRR(s)
			if err != nil {
				panic(err)
			}
			set = append(set, rr)
		}
	}
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 3600},
		Algorithm: dns.ED25519, KeyTag: zskTag, SignerName: "example.org.",
		Inception: 1704067200, Expiration: 2019686400,
	}
	if err := sig.Sign(testKey(2), set); err != nil {
		panic(err)
	}
	l.add(sig.String())
}
