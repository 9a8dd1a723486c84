package verify

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// The signed zone of RFC 4035 Appendix A, whose signatures were valid in 2004.
func TestRFC4035(t *testing.T) {
	o := Options{Now: time.Date(2004, 4, 20, 0, 0, 0, 0, time.UTC)}
	r, l := File("testdata/rfc4035.zone", o)
	for _, d := range l {
		t.Error(d)
	}
	if r.Verified != 27 || r.Denial != DenialNSEC || r.Serial != 1081539377 || len(r.Keys) != 2 {
		t.Errorf("%+v", r)
	}
	if r.Keys[0].Tag+r.Keys[1].Tag != 9465+38519 {
		t.Errorf("keys %+v", r.Keys)
	}
	o.Now = time.Date(2004, 5, 9, 18, 36, 20, 0, time.UTC)
	if _, l := File("testdata/rfc4035.zone", o); len(l) != r.Signatures || l[0].Code != "rrsig-expired" {
		t.Errorf("a second after expiration: %v", l)
	}
	o.Now = time.Date(2004, 4, 9, 18, 36, 18, 0, time.UTC)
	if _, l := File("testdata/rfc4035.zone", o); len(l) != r.Signatures || l[0].Code != "rrsig-not-yet-valid" {
		t.Errorf("a second before inception: %v", l)
	}
}

// Key tags and DS digests of RFC 4034 §5.4, RFC 4509 §2.3, RFC 6605 §6 and
// RFC 8080 §6.
func TestKeyVectors(t *testing.T) {
	tests := []struct{ key, ds string }{
		{"dskey.example.com. 86400 IN DNSKEY 256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==",
			"60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"},
		{"dskey.example.com. 86400 IN DNSKEY 256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==",
			"60485 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A"},
		{"example.net. 3600 IN DNSKEY 257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
			"55648 13 2 b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17"},
		{"example.net. 3600 IN DNSKEY 257 3 14 xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40",
			"10771 14 4 72d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6"},
		{"example.com. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
			"3613 15 2 3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b"},
		{"example.com. 3600 IN DNSKEY 257 3 15 zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=",
			"35217 15 2 401781b934e392de492ec77ae2e15d70f6575a1c0bc59c5275c04ebe80c6614c"},
	}
	for _, tt := range tests {
		rec, err := oneRecord(tt.key)
		if err != nil {
			t.Fatal(err)
		}
		ds := parseDS(t, strings.Fields(tt.key)[0]+" DS "+tt.ds)
		if tag := keyTag(rec.rdata); tag != ds.KeyTag {
			t.Errorf("%s: tag %d", tt.ds, tag)
		}
		digest, ok := digestOf(ds.DigestType, rec.owner, rec.rdata)
		if !ok || !strings.EqualFold(ds.Digest, hex.EncodeToString(digest)) {
			t.Errorf("%s: digest %x", tt.ds, digest)
		}
	}
}

// Signatures of RFC 6605 §6 (ECDSA) and RFC 8080 §6 (Ed25519).
func TestSignatureVectors(t *testing.T) {
	tests := []struct {
		name string
		now  time.Time
		zone string
	}{
		{"RFC 6605 §6.1", time.Date(2010, 9, 1, 0, 0, 0, 0, time.UTC), `example.net. 3600 IN DNSKEY 257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==
www.example.net. 3600 IN A 192.0.2.1
www.example.net. 3600 IN RRSIG A 13 3 3600 20100909100439 20100812100439 55648 example.net. qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==
`},
		{"RFC 6605 §6.2", time.Date(2010, 9, 1, 0, 0, 0, 0, time.UTC), `example.net. 3600 IN DNSKEY 257 3 14 xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40
www.example.net. 3600 IN A 192.0.2.1
www.example.net. 3600 IN RRSIG A 14 3 3600 20100909102025 20100812102025 10771 example.net. /L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuzWTSSPdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm
`},
		{"RFC 8080 §6.1", time.Date(2015, 9, 1, 0, 0, 0, 0, time.UTC), `example.com. 3600 IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=
example.com. 3600 IN MX 10 mail.example.com.
example.com. 3600 IN RRSIG MX 15 2 3600 1440021600 1438207200 3613 example.com. oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==
`},
		{"RFC 8080 §6.2", time.Date(2015, 9, 1, 0, 0, 0, 0, time.UTC), `example.com. 3600 IN DNSKEY 257 3 15 zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=
example.com. 3600 IN MX 10 mail.example.com.
example.com. 3600 IN RRSIG MX 15 2 3600 1440021600 1438207200 35217 example.com. zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==
`},
	}
	for _, tt := range tests {
		for _, bad := range []bool{false, true} {
			zone := tt.zone
			if bad {
				zone = strings.Replace(strings.Replace(zone, "192.0.2.1", "192.0.2.2", 1), "MX 10", "MX 11", 1)
			}
			apex := strings.Fields(zone)[0]
			zone = apex + " 3600 IN SOA . . 1 2 3 4 5\n" + zone
			r, l := Bytes("zone", []byte(zone), Options{Now: tt.now})
			found := false
			for _, d := range l {
				found = found || d.Code == "rrsig-bad"
			}
			if found != bad || r.Verified != 1 {
				t.Errorf("%s: bad %v: %v %+v", tt.name, bad, l, r)
			}
		}
	}
}

// The hashes of RFC 5155 Appendix A.
func TestHashVectors(t *testing.T) {
	n := nsec3Chain{params: []byte{1, 0, 12, 4, 0xaa, 0xbb, 0xcc, 0xdd}}
	for name, want := range map[string]string{
		"example.":       "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
		"a.example.":     "35mthgpgcu1qg68fab165klnsnk3dpvl",
		"ai.example.":    "gjeqe526plbf1g8mklp59enfd789njgi",
		"ns1.example.":   "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
		"ns2.example.":   "q04jkcevqvmu85r014c7dkba38o0ji5r",
		"w.example.":     "k8udemvp1j2f7eg6jebps17vp3n8i58h",
		"*.w.example.":   "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
		"x.w.example.":   "b4um86eghhds6nea196smvmlo4ors995",
		"y.w.example.":   "ji6neoaepv8b5o6k4ev33abha8ht9fgc",
		"x.y.w.example.": "2vptu5timamqttgl4luu9kg21e0aor3s",
		"xx.example.":    "t644ebqk9bibcna874givr6joj62mlhv",
	} {
		rec, err := oneRecord(name + " 1 IN A 192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		if got := n.hashOf(rec.owner).String(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// The zones of RFC 8976 Appendix A.1 and A.2.
func TestZONEMDVectors(t *testing.T) {
	const simple = `$ORIGIN example.
@ 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
@ 86400 IN NS ns1
@ 86400 IN NS ns2
@ 86400 IN ZONEMD 2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ns1 3600 IN A 203.0.113.63
ns2 3600 IN AAAA 2001:db8::63
`
	const complex = `$ORIGIN example.
@ 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
@ 86400 IN NS ns1
@ 86400 IN NS ns2
@ 86400 IN ZONEMD 2018031900 1 1 a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe
ns1 3600 IN A 203.0.113.63
NS2 3600 IN AAAA 2001:db8::63
occluded.sub 7200 IN TXT "I'm occluded but must be digested"
sub 7200 IN NS ns1
duplicate 300 IN TXT "I must be digested just once"
duplicate 300 IN TXT "I must be digested just once"
foo.test. 555 IN TXT "out-of-zone data must be excluded"
UPPERCASE 3600 IN TXT "canonicalize uppercase owner names"
* 777 IN PTR dont-forget-about-wildcards
mail 3600 IN MX 20 MAIL1
mail 3600 IN MX 10 Mail2.Example.
sortme 3600 IN AAAA 2001:db8::5:61
sortme 3600 IN AAAA 2001:db8::3:62
sortme 3600 IN AAAA 2001:db8::4:63
sortme 3600 IN AAAA 2001:db8::1:65
sortme 3600 IN AAAA 2001:db8::2:64
non-apex 900 IN ZONEMD 2018031900 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f776564206275742069676e6f7265642e20616c6c6f7765
`
	for _, tt := range []struct{ name, zone, want string }{
		{"A.1", simple, ""},
		{"A.1 changed", strings.Replace(simple, "113.63", "113.64", 1), "zonemd-mismatch"},
		{"A.2", complex, "duplicate out-of-zone"},
		{"A.2 changed", strings.Replace(complex, "I'm occluded", "I am occluded", 1), "zonemd-mismatch duplicate out-of-zone"},
	} {
		_, l := Bytes("zone", []byte(tt.zone), Options{AllowUnsigned: true})
		var got []string
		for _, d := range l {
			got = append(got, d.Code)
		}
		if codes(got) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, l, tt.want)
		}
	}
}
