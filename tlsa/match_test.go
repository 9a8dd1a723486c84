package tlsa

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/domain"
)

func recordOfCert(t testing.TB, k Kind, c *x509.Certificate) Record {
	t.Helper()
	m, err := parseCertificate(c.Raw)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Associate(k, m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMatchSets judges RRsets of several records: digest agility, unusable
// records, and what is told about records that do not match.
func TestMatchSets(t *testing.T) {
	root := issue(t, "root", nil, ca)
	good := issue(t, "ok.signed.lab", root, leaf)
	old := issue(t, "old.signed.lab", root, func(c *x509.Certificate) {
		c.DNSNames = []string{"old.signed.lab"}
		c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 2, 1, 0, 0, 0, 0, time.UTC)
	})
	cnOnly := issue(t, "ok.signed.lab", root, func(*x509.Certificate) {})
	right := func(k Kind) Record { return recordOfCert(t, k, good.Certificate) }
	bad := func(k Kind, n int) Record { return Record{k, strings.Repeat("\x22", n)} }
	ee, ee512, ee0 := Kind{3, 1, 1}, Kind{3, 1, 2}, Kind{3, 1, 0}
	for _, c := range []struct {
		name    string
		chain   []*issued
		records []Record
		eeName  bool
		want    string
	}{
		{"none", []*issued{good}, nil, false, "no-records record -1 depth -1 usable 0"},
		{"one", []*issued{good}, []Record{right(ee)}, false, "matched record 0 depth 0 usable 1"},
		{"current and next", []*issued{good}, []Record{bad(ee, 32), right(ee)}, false, "matched record 1 depth 0 usable 2; 3 1 1 2222222222222222…: mismatch"},
		{"mismatch", []*issued{good}, []Record{bad(ee, 32)}, false, "mismatch record 0 depth -1 usable 1"},
		{"good 3 1 1 and bad 3 1 2", []*issued{good}, []Record{right(ee), bad(ee512, 64)}, false, "mismatch record 1 depth -1 usable 2"},
		{"good 3 1 2 and bad 3 1 1", []*issued{good}, []Record{bad(ee, 32), right(ee512)}, false, "matched record 1 depth 0 usable 2; 3 1 1 2222222222222222…: ignored: a record with SHA-512 stands beside it (RFC 7671 §9)"},
		{"good 3 1 0 and bad 3 1 2", []*issued{good}, []Record{right(ee0), bad(ee512, 64)}, false, "matched record 0 depth 0 usable 2; 3 1 2 2222222222222222…: mismatch; partial 3 1 2"},
		{"agility is of one selector", []*issued{good}, []Record{right(ee), bad(Kind{3, 0, 2}, 64)}, false, "matched record 0 depth 0 usable 2; 3 0 2 2222222222222222…: mismatch; partial 3 0 2"},
		{"short 3 1 2 outranks nothing", []*issued{good}, []Record{right(ee), bad(ee512, 63)}, false, "matched record 0 depth 0 usable 1; 3 1 2 2222222222222222…: unusable: association data of 63 octets, matching type 2 has 64"},
		{"unusable", []*issued{good}, []Record{bad(Kind{4, 1, 1}, 32), bad(Kind{3, 2, 1}, 32), bad(Kind{3, 1, 3}, 32), bad(ee, 31), bad(ee0, 0)}, false, "unusable record 0 depth -1 usable 0: unknown certificate usage 4"},
		{"usage 3 forgives", []*issued{old}, []Record{recordOfCert(t, ee, old.Certificate)}, false,
			"matched record 0 depth 0 usable 1; the certificate does not name ok.signed.lab.; usage 3 does not ask for that; the certificate expired on 2020-02-01; usage 3 does not mind"},
		{"usage 3 with names", []*issued{old}, []Record{recordOfCert(t, ee, old.Certificate)}, true, "name record 0 depth 0 usable 1: the certificate does not name ok.signed.lab."},
		{"usage 2 does not forgive dates", []*issued{old, root}, []Record{recordOfCert(t, Kind{2, 1, 1}, root.Certificate)}, false, "expired record 0 depth 1 usable 1: a certificate of the chain is not valid on " + time.Now().UTC().Format(time.DateOnly)},
		{"usage 2 by common name", []*issued{cnOnly, root}, []Record{recordOfCert(t, Kind{2, 1, 1}, root.Certificate)}, false, "matched record 0 depth 1 usable 1"},
		{"usage 2 of the leaf", []*issued{good, root}, []Record{right(Kind{2, 1, 1})}, false, "mismatch record 0 depth -1 usable 1"},
		{"usage 2 in the record", []*issued{good}, []Record{recordOfCert(t, Kind{2, 0, 0}, root.Certificate)}, false, "matched record 0 depth 1 usable 1"},
		{"bare key", []*issued{good}, []Record{recordOfCert(t, Kind{2, 1, 0}, root.Certificate)}, false, "matched record 0 depth 1 usable 1"},
		{"usage 1 without roots", []*issued{good}, []Record{right(Kind{1, 1, 1})}, false, "pkix record 0 depth 0 usable 1: usages 0 and 1 need public roots, and none are given"},
		{"nothing sent", nil, []Record{right(ee)}, false, "unsupported record 0 depth -1 usable 1: the server sent no certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := MatchInput{Records: c.records, Names: []domain.Name{domain.MustParse("ok.signed.lab")}, Now: time.Now(), EEName: c.eeName}
			for _, x := range c.chain {
				in.Chain = append(in.Chain, x.Raw)
			}
			m := MatchServer(in)
			got := fmt.Sprintf("%s record %d depth %d usable %d", m.Reason, m.Record, m.Depth, m.Usable)
			if m.Detail != "" {
				got += ": " + m.Detail
			}
			for _, n := range m.Notes {
				got += "; " + n
			}
			for _, k := range m.Partial {
				got += "; partial " + k.String()
			}
			if got != c.want || m.OK != (m.Reason == Matched) {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestMatchUnknownKeys: certificates of which crypto/x509 knows no key, or
// refuses the serial number, match by their octets.
func TestMatchUnknownKeys(t *testing.T) {
	der := simCert(-7)
	m, err := parseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Kind{{3, 1, 1}, {3, 0, 2}, {3, 1, 0}} {
		r, err := Associate(k, m)
		if err != nil {
			t.Fatal(err)
		}
		if got := MatchServer(MatchInput{Records: []Record{r}, Chain: [][]byte{der}, Now: time.Now()}); !got.OK {
			t.Errorf("%s: %+v", k, got)
		}
	}
	r, _ := Associate(Kind{1, 1, 1}, m)
	if got := MatchServer(MatchInput{Records: []Record{r}, Chain: [][]byte{der}, Now: time.Now(), Roots: x509.NewCertPool()}); got.Reason != Unsupported {
		t.Errorf("1 1 1: %+v", got)
	}
}

// TestRecordText: octets are compared, whatever the case of the text was.
func TestRecordText(t *testing.T) {
	var a, b Record
	for text, want := range map[string]string{"3 1 1 ABab": "", "3 1 1": "", "3 1": "not of the form", "256 1 1 00": "not a number", "3 1 1 0": "not hexadecimal", "3 1 1 zz": "not hexadecimal"} {
		err := a.UnmarshalText([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if a.UnmarshalText([]byte("3 1 1 AB ab")) != nil || b.UnmarshalText([]byte("3 1 1 abAB")) != nil || a != b || a.String() != "3 1 1 abab" {
		t.Errorf("%s and %s", a, b)
	}
	if back, err := FromRdata(a.Rdata()); err != nil || back != a {
		t.Errorf("%s, %v", back, err)
	}
	if _, err := FromRdata([]byte{3, 1}); err == nil {
		t.Error("rdata of two octets is taken")
	}
}

// FuzzMatchServer: no server and no RRset crashes the matcher, and it is the
// leaf's own data that usage 3 matches.
func FuzzMatchServer(f *testing.F) {
	root := issue(f, "root", nil, ca)
	good := issue(f, "ok.signed.lab", root, leaf)
	f.Add(good.Raw, root.Raw, uint8(2), uint8(1), uint8(0), root.RawSubjectPublicKeyInfo)
	f.Add(good.Raw, root.Raw, uint8(0), uint8(0), uint8(0), root.Raw)
	f.Add(good.Raw, good.Raw, uint8(3), uint8(0), uint8(0), good.Raw)
	roots := x509.NewCertPool()
	roots.AddCert(root.Certificate)
	f.Fuzz(func(t *testing.T, a, b []byte, u, s, m uint8, data []byte) {
		r := Record{Kind{u, s, m}, string(data)}
		got := MatchServer(MatchInput{Records: []Record{r}, Chain: [][]byte{a, b}, Names: []domain.Name{domain.MustParse("ok.signed.lab")}, Roots: roots, Now: time.Now()})
		if got.OK && (r.Check() != nil || u == 3 && !Associated(r, [][]byte{a})) {
			t.Errorf("%s: %+v", r, got)
		}
	})
}

// TestMatchLargeKey: a key that would take long to calculate with is not used.
func TestMatchLargeKey(t *testing.T) {
	good := issue(t, "ok.signed.lab", nil, leaf)
	n := new(big.Int).Lsh(big.NewInt(1), maxRSA)
	spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	in := MatchInput{Records: []Record{{Kind{2, 1, 0}, string(spki)}}, Chain: [][]byte{good.Raw}, Now: time.Now()}
	if m := MatchServer(in); m.Reason != Mismatch || !isLarge(&rsa.PublicKey{N: n}) || isLarge(good.PublicKey) {
		t.Errorf("%+v", m)
	}
}
