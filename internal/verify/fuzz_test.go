package verify

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

// signedSets gives the digests of what the signatures of a zone cover, and the
// faults of the zone.
func signedSets(data []byte, o Options) (map[[32]byte]string, *faults, error) {
	f := &faults{file: "zone"}
	z, err := load(bytes.NewReader(data), o.Apex, nil, f)
	if err != nil {
		return nil, f, err
	}
	c := newChecker(z, f, o)
	c.check()
	sets := map[[32]byte]string{}
	for _, j := range c.jobs {
		s := parseSig(c.rdata(int(j.sig)))
		sets[sha256.Sum256(c.signedData(nil, c.owner(int(j.lo)), j, s))] = nameText(c.owner(int(j.lo))) + " " + typeText(s.covered)
	}
	return sets, f, nil
}

// Nobody but the holder of the keys can make a zone that is accepted with the
// DS of these keys: all that an accepted zone has signed, a zone of testdata
// has signed.
func FuzzFile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.zone")
	if err != nil || len(files) < 3 {
		f.Fatalf("seeds: %v %v", files, err)
	}
	rr, err := dns.NewRR(keyDS)
	if err != nil {
		f.Fatal(err)
	}
	o := Options{Now: fixtureNow, DS: []*dns.DS{rr.(*dns.DS)}, Apex: domain.MustParse("example.org")}
	known := map[[32]byte]string{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		sets, _, err := signedSets(data, o)
		if err != nil {
			f.Fatal(err)
		}
		for k, v := range sets {
			known[k] = v
		}
	}
	f.Add([]byte("$ORIGIN example.org.\n@ 60 IN SOA a b 1 2 3 4 ( 5 )\n NS ns\nns A 192.0.2.1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sets, faults, err := signedSets(data, o)
		if err != nil {
			return
		}
		if faults.errors > 0 {
			return
		}
		for k, what := range sets {
			if _, ok := known[k]; !ok {
				t.Errorf("accepted: forged %s", what)
			}
		}
	})
}

// What the line reader takes without a fault, the parser of miekg/dns reads as
// the same records.
func FuzzLine(f *testing.F) {
	f.Add(`www.example. 3600 IN TXT "a b" c \065\; "" ; comment`)
	f.Add(`\000\..example. 1 TYPE65280 \# 2 00 ff`)
	f.Add(`a. 1 IN RRSIG A 15 1 1 20340101000000 1 1 x. AAAA BBBB`)
	f.Add(`a. 1 IN NSEC3 1 0 0 aa 2t7b4g4vsa5smi47k61mv5bv1a22bojr A TYPE1000`)
	f.Add(`a. 1 IN CAA 0 issue "x"`)
	f.Add(`a. 1 IN HTTPS 1 . alpn="h2"`)
	f.Add(`a. 1 IN SRV 1 2 3 B\.c.`)
	f.Fuzz(func(t *testing.T, line string) {
		fl := new(faults)
		z, err := loadLines(bytes.NewReader([]byte(line)), 0, nil, fl)
		if err != nil || len(fl.list) > 0 {
			return
		}
		other := new(zone)
		if err := loadForeign(bytes.NewReader([]byte(line)), ".", other, fl); err != nil || len(fl.list) > 0 {
			return
		}
		if got, want := content(z), content(other); !slices.Equal(got, want) {
			t.Errorf("%q:\n own %q\nmiekg %q", line, got, want)
		}
	})
}
