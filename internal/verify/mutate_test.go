package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func codes(l []string) string { return strings.Join(l, " ") }

// The zones of testdata are good, so each fault below is of the change alone.
func TestFixtures(t *testing.T) {
	for _, name := range []string{"nsec", "nsec3", "opt-out"} {
		o := Options{Now: fixtureNow, DS: []*dns.DS{parseDS(t, keyDS)}}
		r, l := File("testdata/"+name+".zone", o)
		for _, d := range l {
			t.Errorf("%s: %v", name, d)
		}
		if !strings.HasSuffix(r.Denial, name) || r.Verified != r.Signatures || r.Verified < 35 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Each case makes one thing wrong, signs what it changed where a signature is
// not what is wrong, and names all codes that must come of it.
func TestMutations(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name   string
		zone   string
		change func(*lines)
		opt    func(*Options)
		want   string
	}{
		// Signatures.
		{"signature removed", "nsec", func(l *lines) { l.drop("mail", "RRSIG A") }, nil, "rrsig-missing"},
		{"signature of SOA removed", "nsec", func(l *lines) { l.drop("@", "RRSIG SOA") }, nil, "rrsig-missing"},
		{"signature of NSEC removed", "nsec", func(l *lines) { l.drop("mail", "RRSIG NSEC") }, nil, "rrsig-missing"},
		{"signature of DS removed", "nsec", func(l *lines) { l.drop("secure", "RRSIG DS") }, nil, "rrsig-missing"},
		{"signature of NSEC3 removed", "nsec3", func(l *lines) { l.drop("8um1kjcjmofvvmq7cb0op7jt39lg8r9j", "RRSIG NSEC3") }, nil, "rrsig-missing zonemd-mismatch"},
		{"address changed", "nsec", func(l *lines) { l.edit("mail", "A", "192.0.2.3", "192.0.2.33") }, nil, "rrsig-bad"},
		{"serial changed", "nsec", func(l *lines) { l.edit("@", "SOA", "2024010101", "2024010102") }, nil, "rrsig-bad"},
		{"case of next name changed", "nsec", func(l *lines) { l.edit("mail", "NSEC", "_25._tcp.mail", "_25._TCP.mail") }, nil, "rrsig-bad"},
		{"key tag changed", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "40118", "40119") }, nil, "rrsig-key-missing"},
		{"signed by the other key", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "40118", "60795") }, nil, "rrsig-bad"},
		{"labels changed", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "A 15 3", "A 15 2") }, nil, "rrsig-labels"},
		{"labels of wildcard changed", "nsec", func(l *lines) { l.edit("*.wild", "RRSIG A", "A 15 3", "A 15 4") }, nil, "rrsig-labels"},
		{"labels of a false wildcard", "nsec", falseWildcard, nil, "rrsig-labels"},
		{"signer changed", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "40118 example.org.", "40118 org.") }, nil, "rrsig-signer"},
		{"original TTL changed", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "A 15 3 600", "A 15 3 601") }, nil, "rrsig-original-ttl"},
		{"TTL of RRset changed", "nsec", func(l *lines) { l.edit("mail", "A", "600", "601") }, nil, "rrsig-original-ttl rrsig-ttl"},
		{"TTL of signature changed", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "600\tIN", "601\tIN") }, nil, "rrsig-ttl"},
		{"covered type changed", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "RRSIG\tA ", "RRSIG\tAAAA ") }, nil, "rrsig-extra rrsig-missing"},
		{"expiration changed", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "20340101000000", "20340101000001") }, nil, "rrsig-bad"},
		{"expired", "nsec", func(*lines) {}, func(o *Options) { o.Now = time.Date(2034, 1, 1, 0, 0, 1, 0, time.UTC) }, "rrsig-expired"},
		{"not yet valid", "nsec", func(*lines) {}, func(o *Options) { o.Now = time.Date(2023, 12, 31, 23, 59, 59, 0, time.UTC) }, "rrsig-not-yet-valid"},
		{"first second", "nsec", func(*lines) {}, func(o *Options) { o.Now = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }, ""},
		{"last second", "nsec", func(*lines) {}, func(o *Options) { o.Now = time.Date(2034, 1, 1, 0, 0, 0, 0, time.UTC) }, ""},
		{"too little left", "nsec", func(*lines) {}, func(o *Options) { o.Now = time.Date(2033, 12, 30, 0, 0, 0, 0, time.UTC); o.MinLeft = 3 * day }, "rrsig-expires-soon"},
		{"just enough left", "nsec", func(*lines) {}, func(o *Options) { o.Now = time.Date(2033, 12, 29, 0, 0, 0, 0, time.UTC); o.MinLeft = 3 * day }, ""},
		{"expires before it begins", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "20340101000000 2024", "20230101000000 2024") }, nil, "rrsig-bad rrsig-period"},
		{"unknown algorithm", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "A 15", "A 16") }, nil, "rrsig-algorithm rrsig-missing"},
		{"algorithm without key", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "A 15", "A 13") }, nil, "rrsig-key-missing rrsig-missing"},
		{"signature of an algorithm that comes or goes", "nsec", func(l *lines) { l.add(strings.Replace(l.get("mail", "RRSIG A"), "A 15", "A 13", 1)) }, nil, "rrsig-key-missing"},
		{"two keys of one tag", "nsec", collision, nil, "key-tag-collision rrsig-bad"},
		{"signature cut short", "nsec", func(l *lines) { l.edit("mail", "RRSIG A", "==", "") }, nil, "rrsig-missing syntax"},
		{"signed glue", "nsec", func(l *lines) { l.sign("ns.secure", "A") }, nil, "rrsig-extra"},
		{"signed delegation", "nsec", func(l *lines) { l.sign("secure", "NS") }, nil, "rrsig-extra"},
		{"occluded signed TXT", "nsec", func(l *lines) { l.add("x.insecure.example.org. 60 IN TXT x"); l.sign("x.insecure", "TXT") }, nil, "rrsig-extra"},
		{"signature at no name", "nsec", func(l *lines) { l.add(strings.Replace(l.get("mail", "RRSIG A"), "mail", "lost", 1)) }, nil, "rrsig-extra"},
		{"signature of signatures", "nsec", func(l *lines) {
			l.add(strings.Replace(l.get("mail", "RRSIG A"), "RRSIG\tA ", "RRSIG\tRRSIG ", 1))
		}, nil, "rrsig-extra"},
		{"unsigned data added", "nsec", func(l *lines) { l.add("mail.example.org. 600 IN AAAA 2001:db8::3") }, nil, "nsec-bitmap rrsig-missing"},
		{"unsigned name added", "nsec", func(l *lines) { l.add("maila.example.org. 600 IN AAAA 2001:db8::3") }, nil, "nsec-chain nsec-missing rrsig-missing"},

		// Keys.
		{"KSK removed", "nsec", func(l *lines) { l.dropWord("@", "DNSKEY", "257"); l.sign("@", "DNSKEY") }, nil, "ds-mismatch dnskey-unsigned rrsig-key-missing"},
		{"ZSK removed", "nsec", func(l *lines) { l.dropWord("@", "DNSKEY", "256"); l.sign("@", "DNSKEY") }, nil, "rrsig-key-missing"},
		{"all keys removed", "nsec", func(l *lines) { l.drop("@", "DNSKEY") }, nil, "dnskey-missing"},
		{"key added", "nsec", func(l *lines) { l.add(otherKey) }, nil, "rrsig-bad"},
		{"key of other algorithm", "nsec", func(l *lines) { l.add(otherAlgorithm); l.sign("@", "DNSKEY") }, nil, "rrsig-missing"},
		{"SEP key of other algorithm", "nsec", func(l *lines) { l.add(strings.Replace(otherAlgorithm, "256", "257", 1)); l.sign("@", "DNSKEY") }, nil, "dnskey-unsigned rrsig-missing"},
		{"key of unknown algorithm", "nsec", func(l *lines) { l.add("example.org. 3600 IN DNSKEY 256 3 16 AAAA"); l.sign("@", "DNSKEY") }, nil, "rrsig-algorithm rrsig-missing"},
		{"key with bad point", "nsec", func(l *lines) {
			l.add("example.org. 3600 IN DNSKEY 256 3 13 " + strings.Repeat("AAAA", 21) + "AA==")
			l.sign("@", "DNSKEY")
		}, nil, "dnskey-bad rrsig-missing"},
		{"protocol 4", "nsec", func(l *lines) { l.add(strings.Replace(otherKey, " 3 15", " 4 15", 1)); l.sign("@", "DNSKEY") }, nil, "dnskey-protocol"},
		{"DNSKEY signed by the ZSK only", "nsec", func(l *lines) { l.drop("@", "RRSIG DNSKEY"); l.signKeysByZSK() }, nil, "dnskey-unsigned ds-mismatch"},
		{"DNSKEY unsigned", "nsec", func(l *lines) { l.drop("@", "RRSIG DNSKEY") }, nil, "dnskey-unsigned ds-mismatch"},
		{"DNSKEY below the apex", "nsec", func(l *lines) {
			l.add("mail.example.org. 600 IN DNSKEY 256 3 15 gTl3Dqh9F19Wo1Rmw0x+zMuNipG07jeiXfYPW4/Js5Q=")
			l.sign("mail", "DNSKEY")
		}, nil, "dnskey-misplaced nsec-bitmap"},
		{"DS of another key", "nsec", func(*lines) {}, func(o *Options) { o.DS[0].Digest = strings.Repeat("00", 32) }, "ds-mismatch"},
		{"DS of another zone", "nsec", func(*lines) {}, func(o *Options) { o.DS[0].Hdr.Name = "example.net." }, "ds-mismatch"},
		{"DS of unknown digest", "nsec", func(*lines) {}, func(o *Options) { o.DS[0].DigestType = 3 }, "ds-mismatch"},

		// NSEC.
		{"NSEC removed", "nsec", func(l *lines) { l.drop("mail", "NSEC"); l.drop("mail", "RRSIG NSEC") }, nil, "nsec-missing"},
		{"NSEC at glue", "nsec", func(l *lines) {
			l.add("ns.insecure.example.org. 300 IN NSEC mail.example.org. A RRSIG NSEC")
			l.sign("ns.insecure", "NSEC")
		}, nil, "nsec-extra rrsig-extra"},
		{"NSEC at empty non-terminal", "nsec", func(l *lines) {
			l.add("deep.name.example.org. 300 IN NSEC naptr.example.org. RRSIG NSEC")
			l.sign("deep.name", "NSEC")
		}, nil, "nsec-extra"},
		{"two NSEC", "nsec", func(l *lines) {
			l.add("mail.example.org. 300 IN NSEC zzz.example.org. A RRSIG NSEC")
			l.sign("mail", "NSEC")
		}, nil, "nsec-extra"},
		{"bitmap lacks a type", "nsec", func(l *lines) { l.edit("web", "NSEC", "A SSHFP", "SSHFP"); l.sign("web", "NSEC") }, nil, "nsec-bitmap"},
		{"bitmap has a type too many", "nsec", func(l *lines) { l.edit("web", "NSEC", "A SSHFP", "A TXT SSHFP"); l.sign("web", "NSEC") }, nil, "nsec-bitmap"},
		{"bitmap of wildcard", "nsec", func(l *lines) { l.edit("*.wild", "NSEC", " A RRSIG", " RRSIG"); l.sign("*.wild", "NSEC") }, nil, "nsec-bitmap"},
		{"bitmap of delegation lacks NS", "nsec", func(l *lines) { l.edit("secure", "NSEC", "NS DS", "DS"); l.sign("secure", "NSEC") }, nil, "nsec-bitmap"},
		{"bitmap of delegation has glue", "nsec", func(l *lines) {
			l.add("secure.example.org. 3600 IN A 192.0.2.9")
			l.edit("secure", "NSEC", "NS DS", "A NS DS")
			l.sign("secure", "NSEC")
		}, nil, "nsec-bitmap"},
		{"bitmap unsigned changed", "nsec", func(l *lines) { l.edit("web", "NSEC", "A SSHFP", "SSHFP") }, nil, "nsec-bitmap rrsig-bad"},
		{"next name skips one", "nsec", func(l *lines) {
			l.edit("mail", "NSEC", "_25._tcp.mail", "a.very.deep.name")
			l.sign("mail", "NSEC")
		}, nil, "nsec-chain"},
		{"chain does not close", "nsec", func(l *lines) {
			l.edit("www", "NSEC", "NSEC\texample.org.", "NSEC\tmail.example.org.")
			l.sign("www", "NSEC")
		}, nil, "nsec-chain"},
		{"TTL of NSEC", "nsec", func(l *lines) { l.edit("mail", "NSEC", "300", "3600"); l.sign("mail", "NSEC") }, nil, "nsec-ttl"},
		{"no NSEC at all", "nsec", func(l *lines) {
			*l = slices.DeleteFunc(*l, func(s string) bool { return strings.Contains(s, "\tNSEC") })
		}, nil, "nsec-missing"},
		{"NSEC3 in an NSEC zone", "nsec", func(l *lines) {
			l.add("8um1kjcjmofvvmq7cb0op7jt39lg8r9j.example.org. 300 IN NSEC3 1 0 0 - 90o907uoncpso9brb27k0lov79e6fj39 NS")
			l.sign("8um1kjcjmofvvmq7cb0op7jt39lg8r9j", "NSEC3")
		}, nil, "nsec3-extra"},

		// NSEC3; the opt-out zone has no ZONEMD, so it stands in for others.
		{"NSEC3 removed", "opt-out", func(l *lines) { l.dropHash(2) }, nil, "nsec3-chain nsec3-missing"},
		{"NSEC3 of no name", "opt-out", func(l *lines) {
			l.add("00000000000000000000000000000000.example.org. 300 IN NSEC3 1 1 0 - " + l.hash(0) + " A RRSIG")
			l.sign("00000000000000000000000000000000", "NSEC3")
			last := len(l.hashes()) - 1
			l.edit(l.hash(last), "NSEC3", l.hash(1), strings.Repeat("0", 32))
			l.sign(l.hash(last), "NSEC3")
		}, nil, "nsec3-extra"},
		{"two NSEC3", "opt-out", func(l *lines) {
			l.add(strings.Replace(l.get(l.hash(0), "NSEC3"), l.hash(1), strings.Repeat("v", 32), 1))
			l.sign(l.hash(0), "NSEC3")
		}, nil, "nsec3-extra"},
		{"NSEC3 owner is no hash", "opt-out", func(l *lines) {
			l.add("nohash.example.org. 300 IN NSEC3 1 1 0 - " + l.hash(0) + " A RRSIG")
			l.sign("nohash", "NSEC3")
		}, nil, "nsec3-hash"},
		{"NSEC3 chain", "opt-out", func(l *lines) { l.edit(l.hash(0), "NSEC3", l.hash(1), l.hash(2)); l.sign(l.hash(0), "NSEC3") }, nil, "nsec3-chain"},
		{"NSEC3 salt", "opt-out", func(l *lines) { l.edit(l.hash(0), "NSEC3", "1 1 0 -", "1 1 0 aa"); l.sign(l.hash(0), "NSEC3") }, nil, "nsec3-chain nsec3-missing nsec3-params"},
		{"NSEC3 iterations", "opt-out", func(l *lines) { l.edit(l.hash(0), "NSEC3", "1 1 0 -", "1 1 1 -"); l.sign(l.hash(0), "NSEC3") }, nil, "nsec3-chain nsec3-missing nsec3-params"},
		{"NSEC3 flags", "opt-out", func(l *lines) { l.edit(l.hash(0), "NSEC3", "1 1 0 -", "1 3 0 -"); l.sign(l.hash(0), "NSEC3") }, nil, "nsec3-params"},
		{"NSEC3 TTL", "opt-out", func(l *lines) { l.edit(l.hash(0), "NSEC3", "\t300", "\t3600"); l.sign(l.hash(0), "NSEC3") }, nil, "nsec3-ttl"},
		{"NSEC3 bitmap", "opt-out", func(l *lines) {
			l.edit("8um1kjcjmofvvmq7cb0op7jt39lg8r9j", "NSEC3", "NS SOA MX", "NS SOA")
			l.sign("8um1kjcjmofvvmq7cb0op7jt39lg8r9j", "NSEC3")
		}, nil, "nsec3-bitmap"},
		{"insecure delegation left out", "opt-out", func(l *lines) { l.leaveOut("insecure") }, nil, ""},
		{"insecure delegation and the name above it left out", "opt-out", func(l *lines) { l.leaveOut("lonely.ent"); l.leaveOut("ent") }, nil, ""},
		{"only the name above an insecure delegation left out", "opt-out", func(l *lines) { l.leaveOut("ent") }, nil, "nsec3-missing"},
		{"secure delegation left out", "opt-out", func(l *lines) { l.leaveOut("secure") }, nil, "nsec3-missing"},
		{"name left out", "opt-out", func(l *lines) { l.leaveOut("*.wild") }, nil, "nsec3-missing"},
		{"empty non-terminal left out", "opt-out", func(l *lines) { l.leaveOut("very.deep.name") }, nil, "nsec3-missing"},
		{"left out without opt-out flag", "opt-out", func(l *lines) {
			before := l.leaveOut("insecure")
			l.edit(before, "NSEC3", "1 1 0 -", "1 0 0 -")
			l.sign(before, "NSEC3")
		}, nil, "nsec3-missing"},
		{"NSEC in an NSEC3 zone", "opt-out", func(l *lines) {
			l.add("mail.example.org. 300 IN NSEC web.example.org. A RRSIG NSEC")
			l.sign("mail", "NSEC")
		}, nil, "nsec-extra nsec3-bitmap"},
		{"NSEC3PARAM removed", "opt-out", func(l *lines) { l.drop("@", "NSEC3PARAM"); l.drop("@", "RRSIG NSEC3PARAM") }, nil, "nsec3-bitmap nsec3param"},
		{"NSEC3PARAM flags", "opt-out", func(l *lines) { l.edit("@", "NSEC3PARAM", "1 0 0", "1 1 0"); l.sign("@", "NSEC3PARAM") }, nil, "nsec3param"},
		{"NSEC3PARAM twice", "opt-out", func(l *lines) { l.add("example.org. 3600 IN NSEC3PARAM 1 0 5 -"); l.sign("@", "NSEC3PARAM") }, nil, "nsec3param"},
		{"NSEC3 hash algorithm", "opt-out", func(l *lines) { l.edit("@", "NSEC3PARAM", "1 0 0", "2 0 0"); l.sign("@", "NSEC3PARAM") }, nil, "nsec3-params"},
		{"too many iterations", "opt-out", func(l *lines) { l.edit("@", "NSEC3PARAM", "1 0 0", "1 0 2501"); l.sign("@", "NSEC3PARAM") }, nil, "nsec3-iterations"},

		// Structure.
		{"SOA removed", "nsec", func(l *lines) { l.drop("@", "SOA"); l.drop("@", "RRSIG SOA") }, nil, "soa-missing"},
		{"SOA twice", "nsec", func(l *lines) { l.add(strings.Replace(l.get("@", "SOA"), "7200", "7201", 1)); l.sign("@", "SOA") }, nil, "soa-second"},
		{"SOA below the apex", "nsec", func(l *lines) { l.add("mail.example.org. 600 IN SOA . . 1 2 3 4 5"); l.sign("mail", "SOA") }, nil, "nsec-bitmap soa-second"},
		{"NS removed", "nsec", func(l *lines) { l.drop("@", "NS"); l.drop("@", "RRSIG NS") }, nil, "nsec-bitmap ns-missing"},
		{"out of zone", "nsec", func(l *lines) { l.add("example.com. 600 IN A 192.0.2.1") }, nil, "out-of-zone"},
		{"apex as a suffix only", "nsec", func(l *lines) { l.add("notexample.org. 600 IN A 192.0.2.1") }, nil, "out-of-zone"},
		{"other class", "nsec", func(l *lines) { l.add("ch.example.org. 600 CH TXT x") }, nil, "class"},
		{"two TTLs", "nsec", func(l *lines) { l.edit("web", "A", "3600", "3601") }, nil, "rrsig-original-ttl rrsig-ttl ttl-mixed"},
		{"two TTLs at a delegation", "nsec", func(l *lines) { l.edit("insecure", "NS", "3600", "3601") }, nil, "ttl-mixed"},
		{"TTL out of range", "nsec", func(l *lines) { l.edit("ns.secure", "A", "3600", "2147483648") }, nil, "ttl-range"},
		{"duplicate", "nsec", func(l *lines) { l.add(l.get("web", "A")) }, nil, "duplicate"},
		{"duplicate in other words", "nsec", func(l *lines) { l.add("WWW.EXAMPLE.ORG. 3600 IN CNAME WEB.example.org.") }, nil, "duplicate"},
		{"CNAME and other data", "nsec", func(l *lines) {
			l.add("www.example.org. 3600 IN A 192.0.2.5")
			l.sign("www", "A")
			l.edit("www", "NSEC", "CNAME", "A CNAME")
			l.sign("www", "NSEC")
		}, nil, "cname-other-data"},
		{"two CNAME", "nsec", func(l *lines) { l.add("www.example.org. 3600 IN CNAME mail.example.org."); l.sign("www", "CNAME") }, nil, "cname-multiple"},
		{"below a DNAME", "nsec", func(l *lines) { l.add("x.alias.example.org. 3600 IN A 192.0.2.5") }, nil, "dname-below"},
		{"DS without NS", "nsec", func(l *lines) {
			l.add("mail.example.org. 600 IN DS 1 13 2 " + strings.Repeat("00", 32))
			l.sign("mail", "DS")
			l.edit("mail", "NSEC", "A RRSIG", "A DS RRSIG")
			l.sign("mail", "NSEC")
		}, nil, "ds-misplaced"},
		{"unknown type word", "nsec", func(l *lines) { l.add("mail.example.org. 600 IN BOGUS 1") }, nil, "syntax"},
		{"bad address", "nsec", func(l *lines) { l.add("mail.example.org. 600 IN A 192.0.2.256") }, nil, "syntax"},
		{"raw control byte", "nsec", func(l *lines) { l.add("mail.example.org. 600 IN TXT \"\x01\"") }, nil, "syntax"},
		{"query type", "nsec", func(l *lines) { l.add("mail.example.org. 600 IN TYPE255 \\# 0") }, nil, "syntax"},
		{"bad rdata of a known type", "nsec", func(l *lines) { l.add(`mail.example.org. 600 IN RRSIG \# 3 000102`) }, nil, "syntax"},

		// Digest.
		{"glue changed under a digest", "nsec3", func(l *lines) { l.edit("ns.secure", "A", "192.0.2.7", "192.0.2.77") }, nil, "zonemd-mismatch"},
		{"digest serial", "nsec3", func(l *lines) { l.edit("@", "ZONEMD", "2024010101", "2024010102"); l.sign("@", "ZONEMD") }, nil, "zonemd-mismatch"},
		{"digest scheme unknown", "nsec3", func(l *lines) { l.edit("@", "ZONEMD", " 1 1 ", " 240 1 "); l.sign("@", "ZONEMD") }, nil, "zonemd-unknown"},
		{"digest twice", "nsec3", func(l *lines) {
			l.add(strings.TrimRight(l.get("@", "ZONEMD"), " ") + "00")
			l.sign("@", "ZONEMD")
		}, nil, "zonemd-mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := lines(fixture(t, tt.zone))
			tt.change(&l)
			o := Options{Now: fixtureNow, DS: []*dns.DS{parseDS(t, keyDS)}}
			if tt.opt != nil {
				tt.opt(&o)
			}
			_, faults := Bytes("zone", l.text(), o)
			var got []string
			for _, d := range faults {
				if !slices.Contains(got, d.Code) {
					got = append(got, d.Code)
				}
			}
			slices.Sort(got)
			want := strings.Fields(tt.want)
			slices.Sort(want)
			o.DS, o.Trusted = nil, Trust(lines(fixture(t, tt.zone)).canonical())
			if _, ok := Change(l.canonical(), o); ok {
				o.Trusted = nil
				if _, whole := Bytes("zone", l.canonical(), o); len(whole) > 0 {
					t.Errorf("accepted as a change: %v", whole)
				}
			}
			if codes(got) != codes(want) {
				t.Errorf("codes %q, want %q", codes(got), codes(want))
				for _, d := range faults {
					t.Log(d)
				}
			}
		})
	}
}

const (
	otherKey       = "example.org. 3600 IN DNSKEY 256 3 15 7TLQEDDQRQWUZVUIRC+V3LjNp2TJZYi2CGcZW28GBzQ="
	otherAlgorithm = "example.org. 3600 IN DNSKEY 256 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="
)

// Whatever record of a zone is taken away, or has another TTL, is missed; but
// for records that nothing signs.
func TestEachRecord(t *testing.T) {
	for _, name := range []string{"nsec", "nsec3", "opt-out"} {
		all := fixture(t, name)
		original := lines(all).text()
		refused := func(changed lines) bool {
			// What did not change is trusted, which saves most of the time and must hide nothing.
			_, l := Bytes("zone", changed.text(), Options{
				Now: fixtureNow, DS: []*dns.DS{parseDS(t, keyDS)}, Trusted: Trust(original)})
			if _, ok := Change(changed.canonical(), Options{Now: fixtureNow, Trusted: Trust(lines(all).canonical())}); ok && l.HasErrors() {
				t.Errorf("%s: accepted as a change: %v", name, l)
			}
			return l.HasErrors()
		}
		if refused(all) {
			t.Fatalf("%s: refused as it is", name)
		}
		for i, line := range all {
			f := strings.Fields(line)
			free := name != "nsec3" && (strings.HasPrefix(f[0], "ns.") || f[3] == "NS" && f[0] != "example.org.")
			without := lines(slices.Delete(slices.Clone(all), i, i+1))
			if !refused(without) && !free {
				t.Errorf("%s: accepted without %s", name, line)
			}
			other := lines(slices.Clone(all))
			other[i] = strings.Replace(line, f[1], "77", 1)
			if !refused(other) && !free {
				t.Errorf("%s: accepted with another TTL: %s", name, line)
			}
			if f[3] != "RRSIG" {
				continue
			}
			sig := f[len(f)-1]
			for k, to := range []string{"A" + sig[1:], "B" + sig[1:], sig[:40] + "zz" + sig[42:]} {
				bad := lines(slices.Clone(all))
				bad[i] = strings.Replace(line, sig, to, 1)
				if sig != to && !refused(bad) {
					t.Errorf("%s: accepted with changed signature %d: %s", name, k, line)
				}
			}
		}
	}
}

// A zone that is broken throughout gives a list that can be read.
func TestManyFaults(t *testing.T) {
	var l lines
	l.add("example.org. 60 IN SOA . . 1 2 3 4 5")
	for i := range 1000 {
		l.add(fmt.Sprintf("a%d.example.com. 60 IN A 192.0.2.1", i))
	}
	_, faults := Bytes("zone", l.text(), Options{AllowUnsigned: true})
	last := faults[len(faults)-1]
	if len(faults) != maxErrors+1 || last.String() != "zone: 901 more errors [more-faults]" {
		t.Errorf("%d faults, last %v", len(faults), last)
	}
}
