package sshfp_test

import (
	"bytes"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"zonebuild/internal/domain"
	"zonebuild/sshfp"
)

// The keys of RFC 6594 §5, of RFC 7479 §3, and that of RFC 8032 §7.4 ("Blank") in
// the form of RFC 8709.
const (
	rsaKey     = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDCUR4JOhxTinzq7QO3bQXW4jmPCCulFsnh8Yi7MKwpMnd96+T7uV7nEwy+6+GWYu98IxFJByIjFXX/a6BXDp3878wezH1DZ2tND/tu/eudz6ErpTFYmnVLyEDARYSzVBNQuIK1UDqvvB6KffJcyt78FpwW27euGkqEkam7GaurPRAgwXehDB/gMwRtXVRZ+13zYWkAmAY+5OAWVmdXuQVm5kjlvcNzto2H3m3nqJtD4J9L1lKPuSVVqwJr4/6hibXJkQEvWpUvdOAUw3frKpNwa932fXFk3ke4rsDjQ/W8GyleMtK3Tx8tE4z1wuowXtYe6Ba8q3LAPs/m2S4pUscx"
	dsaKey     = "ssh-dss AAAAB3NzaC1kc3MAAACBAPVFrc0U36gWaywbfJzjcv8ef13qAX4EJl8Na6xqvXh1t+aCJEdS7soRjtvK4KsNhk78DjdtnfhEhyFKHHNz3i6/c/s9lP0UjV7mRAo6nA7A3Gs6iQElb6O9Fqm6iVSC6bYWilTSB0tYencEEJUoaAua8YQF/uxRzPrReXxGqHnjAAAAFQDC9M/pli8VIVmEGOO0wC1TeUTN4wAAAIEAgA2Fbkbbeo0+u/qw8mQFOFWZpTaqNo7d7jov3majbh5LqEVD7yT3MS1GSGhjgvvhus/ehMTqzYbjTc0szUM9JnwT7xq15P2ZYDK98IVxrw31jMtsUUEmBqB4DUjTurtcaWmJ9LNaP1/k4bMo0/hotnOcOVnIPsTLBFWVvdNRxUAAAACAOZcDcK01NTM1qIIYbBqCffrwjQ+9PmsuSKI6nUzfS4NysXHkdbW5u5VxeXLcwWj5PGbRfoS2P3vwYAmakqgq502wigam18u9nAczUYl+2kOeOiIRrtSmLfpV7thLOAb8k1ESjIlkbn35jKmTcoMFRXbFmkKRTK8OEnWQ8AVg6w8="
	ecdsaKey   = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAD+9COUiX7WYgcvIOdI8+djdoFDVUTxNrcog8sSYdbIzeG+bYdsssvcyy/nRfVhXC5QBCk8IThqs7D4/lFxX5g="
	ed25519Key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS"
	ed448Key   = "ssh-ed448 AAAACXNzaC1lZDQ0OAAAADlf10SbWbRh/Sznh+xhatRqHaE0JIWnDh+KDqddgOlneO3xJHabRscGG9Z4PfHlD2zR+hq+r+glYYA="
)

func host() domain.Name { return domain.MustParse(hostName) }

// published are the records of a file's keys in hexadecimal.
func published(keys sshfp.Keys, kinds ...uint8) string {
	var out []string
	for _, k := range keys.Published {
		for _, kind := range kinds {
			out = append(out, hex.EncodeToString(k.Rdata(kind)))
		}
	}
	return strings.Join(out, " ")
}

// TestVectors: what the RFCs say of these keys.
func TestVectors(t *testing.T) {
	for _, v := range []struct{ line, sha1, sha256 string }{
		{rsaKey, "0101dd465c09cfa51fb45020cc83316fff21b9ec74ac", "0102b049f950d1397b8fee6a61e4d14a9acdc4721e084eff5460bbed80cfaa2ce2cb"},
		{ecdsaKey, "0301c64607a28c5300fec1180b6e417b922943cffcdd", "0302821eb6c1c98d9cc827ab7f456304c0f14785b7008d9e8646a8519de80849afc7"},
		{ed25519Key, "", "0402a87f1b687ac0e57d2a081a2f282672334d90ed316d2b818ca9580ea384d92401"},
		{ed448Key, "", "0602d8d7fe1f64d91c7d1e35a6b97c813f7e598cf9303d38531b248c8430244625b7"},
	} {
		keys, faults := sshfp.Parse("f", host(), []byte(v.line+" a\n"))
		if got := published(keys, sshfp.SHA256); faults.HasErrors() || got != v.sha256 {
			t.Errorf("%s: %s %v", v.line, got, faults)
		}
		if got := published(keys, sshfp.SHA1); v.sha1 != "" && got != v.sha1 {
			t.Errorf("%s: %s", v.line, got)
		}
	}
}

// line is a key of the wire form that x/crypto/ssh gives to fields.
func line(typ string, fields any) string {
	var b []byte
	b = append(b, ssh.Marshal(struct{ Type string }{typ})...)
	b = append(b, ssh.Marshal(fields)...)
	return typ + " " + base64.StdEncoding.EncodeToString(b)
}

type (
	rsaFields   struct{ E, N *big.Int }
	ecFields    struct{ Curve, Point string }
	octetFields struct{ Key string }
)

func odd(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.Add(n, big.NewInt(1))
}

// TestFaults: what is refused and what is passed over, word by word; want has
// the faults without the file and the host, of which every message speaks.
func TestFaults(t *testing.T) {
	const noEd = ":: warning: no Ed25519 key, which OpenSSH asks for first: if the host has one, it is refused as changed [sshfp-partial]"
	blobOf := func(line string) string { return strings.Fields(line)[1] }
	cutKey := blobOf(ed25519Key)
	one, err := ecdh.P384().NewPrivateKey(append(make([]byte, 47), 1))
	if err != nil {
		t.Fatal(err)
	}
	generator := string(one.PublicKey().Bytes())
	for _, tt := range []struct {
		name, text string
		keys       int
		want       string
	}{
		{"one key", ed25519Key + "\n", 1, ``},
		{"no line end, carriage return, blanks", "\r\n# a comment\r\n \t" + ed25519Key + " x y\r", 1, ``},
		{"twice the same", ed25519Key + " a\n" + hostName + " " + ed25519Key + "\n" + ed25519Key + " b", 1, ``},
		{"known_hosts, any case, with an address", "HOST.Example.Org.,192.0.2.1,2001:db8::1 " + ed25519Key, 1, ``},
		{"all types", strings.Join([]string{rsaKey, ecdsaKey, ed25519Key, ed448Key}, "\n"), 4, ``},

		{"empty", "", 0, `:: the host is left out: no key that can be published [sshfp-empty]`},
		{"comments only", "# host.example.org:22 SSH-2.0-OpenSSH_9.2\n", 0, `:: the host is left out: no key that can be published [sshfp-empty]`},
		{"private key", ed25519Key + "\n-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", 0,
			`:2: the host is left out: this is a private key: remove it, and make the host a new one [sshfp-private-key]`},
		{"private key of PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\n", 0,
			`:1: the host is left out: this is a private key: remove it, and make the host a new one [sshfp-private-key]`},
		{"private key, traditional", "\xff\n  -----BEGIN EC PRIVATE KEY-----\n", 0,
			`:2: the host is left out: this is a private key: remove it, and make the host a new one [sshfp-private-key]`},
		{"RFC 4716", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", 0,
			`:1:1: the host is left out: a key in PEM or RFC 4716 form: ssh-keygen -i gives the line that belongs here [sshfp-line]`},
		{"not UTF-8", "# ok\n" + ed25519Key + " J\xf6rg\n", 0, `:2:83: the host is left out: byte 0xf6: this is no text [sshfp-bytes]`},
		{"UTF-16", "s\x00s\x00h\x00", 0, `:1:2: the host is left out: byte 0x00: this is no text [sshfp-bytes]`},
		{"UTF-8", ed25519Key + " Jörg \uFFFD\n", 1, ``},
		{"an SSHFP record", hostName + ". IN SSHFP 4 2 a87f1b\n", 0, `:1:1: the host is left out: an SSHFP record: the key itself belongs here [sshfp-line]`},
		{"prose", "the key is at home\n", 0,
			`:1:1: the host is left out: no line of the form TYPE BASE64 [COMMENT] or HOSTS TYPE BASE64 [COMMENT] [sshfp-line]`},
		{"protocol 1", "host.example.org 1024 35 1234567\n", 0,
			`:1:1: the host is left out: no line of the form TYPE BASE64 [COMMENT] or HOSTS TYPE BASE64 [COMMENT] [sshfp-line]`},
		{"type alone", ed25519Key + "\nssh-rsa\n", 1,
			`:2:1: the host is left out: no line of the form TYPE BASE64 [COMMENT] or HOSTS TYPE BASE64 [COMMENT] [sshfp-line]`},
		{"marker alone", "@revoked\n", 0,
			`:1:1: the host is left out: no line of the form TYPE BASE64 [COMMENT] or HOSTS TYPE BASE64 [COMMENT] [sshfp-line]`},
		{"unknown marker", "@trusted * " + ed25519Key, 0, `:1:1: the host is left out: unknown marker "@trusted" [sshfp-marker]`},

		{"base64 cut", "ssh-ed25519 " + cutKey[:len(cutKey)-2], 0, `:1:13: the host is left out: the key is no base64, or cut short [sshfp-key]`},
		{"cut at four characters", "ssh-ed25519 " + cutKey[:len(cutKey)-4], 0, `:1:13: the host is left out: the key is cut short [sshfp-key]`},
		{"cut in its type", "ssh-ed25519 " + cutKey[:8], 0, `:1:13: the host is left out: the key is cut short [sshfp-key]`},
		{"nothing of it", "ssh-ed25519 AAAA", 0, `:1:13: the host is left out: the key is cut short [sshfp-key]`},
		{"no base64", "ssh-ed25519 !", 0, `:1:13: the host is left out: the key is no base64, or cut short [sshfp-key]`},
		{"length of 4 GiB", "ssh-ed25519 /////w==", 0, `:1:13: the host is left out: the key is cut short [sshfp-key]`},
		{"another type inside", "ssh-rsa " + cutKey, 0, `:1:9: the host is left out: the line says "ssh-rsa", the key is of type "ssh-ed25519" [sshfp-key]`},
		{"a signature algorithm", "rsa-sha2-512 " + blobOf(rsaKey), 0,
			`:1:14: the host is left out: the line says "rsa-sha2-512", the key is of type "ssh-rsa" [sshfp-key]`},
		{"octets behind", line("ssh-ed25519", struct{ A, B string }{strings.Repeat("k", 32), ""}), 0,
			`:1:13: the host is left out: 4 octets behind the key [sshfp-key]`},
		{"Ed25519 of 31 octets", line("ssh-ed25519", octetFields{strings.Repeat("k", 31)}), 0, `:1:13: the host is left out: key of 31 octets, not 32 [sshfp-key]`},
		{"Ed448 of 56 octets", line("ssh-ed448", octetFields{strings.Repeat("k", 56)}), 0, `:1:11: the host is left out: key of 56 octets, not 57 [sshfp-key]`},
		{"RSA of 1023 bits", line("ssh-rsa", rsaFields{big.NewInt(65537), odd(1023)}), 0,
			`:1:9: the host is left out: RSA modulus of 1023 bits, 1024 to 16384 are in use [sshfp-key]`},
		{"RSA of 1024 bits", line("ssh-rsa", rsaFields{big.NewInt(65537), odd(1024)}), 1, noEd},
		{"RSA of 16385 bits", line("ssh-rsa", rsaFields{big.NewInt(65537), odd(16385)}), 0,
			`:1:9: the host is left out: RSA modulus of 16385 bits, 1024 to 16384 are in use [sshfp-key]`},
		{"RSA even", line("ssh-rsa", rsaFields{big.NewInt(3), new(big.Int).Add(odd(2048), big.NewInt(1))}), 0, `:1:9: the host is left out: RSA modulus is even [sshfp-key]`},
		{"RSA exponent 1", line("ssh-rsa", rsaFields{big.NewInt(1), odd(2048)}), 0, `:1:9: the host is left out: RSA exponent is 1 [sshfp-key]`},
		{"RSA exponent 4", line("ssh-rsa", rsaFields{big.NewInt(4), odd(2048)}), 0, `:1:9: the host is left out: RSA exponent is 4 [sshfp-key]`},
		{"RSA exponent long", line("ssh-rsa", rsaFields{odd(65), odd(2048)}), 0, `:1:9: the host is left out: RSA exponent of 65 bits, at most 64 are in use [sshfp-key]`},
		{"RSA negative", line("ssh-rsa", rsaFields{big.NewInt(-3), odd(2048)}), 0, `:1:9: the host is left out: a number of the key is not positive [sshfp-key]`},
		{"RSA needless zeros", line("ssh-rsa", struct{ E, N string }{"\x00\x03", "\x00" + string(odd(2048).Bytes())}), 0,
			`:1:9: the host is left out: a number of the key has needless zeros [sshfp-key]`},
		{"RSA without modulus", line("ssh-rsa", struct{ E *big.Int }{big.NewInt(3)}), 0, `:1:9: the host is left out: the key is cut short [sshfp-key]`},
		{"EC generator", line("ecdsa-sha2-nistp384", ecFields{"nistp384", generator}), 1, noEd},
		{"EC curve name", line("ecdsa-sha2-nistp256", ecFields{"nistp384", generator}), 0,
			`:1:21: the host is left out: curve "nistp384" in a key of curve nistp256 [sshfp-key]`},
		{"EC point of another curve", line("ecdsa-sha2-nistp521", ecFields{"nistp521", generator}), 0, `:1:21: the host is left out: no point of curve nistp521 [sshfp-key]`},
		{"EC not on the curve", line("ecdsa-sha2-nistp384", ecFields{"nistp384", generator[:96] + "x"}), 0, `:1:21: the host is left out: no point of curve nistp384 [sshfp-key]`},
		{"EC compressed", line("ecdsa-sha2-nistp384", ecFields{"nistp384", "\x02" + generator[1:49]}), 0, `:1:21: the host is left out: no point of curve nistp384 [sshfp-key]`},
		{"EC infinity", line("ecdsa-sha2-nistp384", ecFields{"nistp384", "\x00"}), 0, `:1:21: the host is left out: no point of curve nistp384 [sshfp-key]`},
		{"two faults", "ssh-rsa AAAA\nssh-ed25519 AAAA\n", 0,
			":1:9: the host is left out: the key is cut short [sshfp-key]\n:2:13: the host is left out: the key is cut short [sshfp-key]"},

		{"DSA", dsaKey + "\n" + ed25519Key, 1, ":1:1: warning: passed over: DSA keys are accepted by nobody any more [sshfp-type]"},
		{"DSA alone", dsaKey, 0, ":: the host is left out: no key that can be published [sshfp-empty]\n" +
			":1:1: warning: passed over: DSA keys are accepted by nobody any more [sshfp-type]"},
		{"a security key", ed25519Key + "\n" + line("sk-ssh-ed25519@openssh.com", struct{ K, A string }{strings.Repeat("k", 32), "ssh:"}), 1,
			`:2:1: warning: not all keys of the host are published: a client that gets its "sk-ssh-ed25519@openssh.com" key refuses it as changed [sshfp-partial]` + "\n" +
				`:2:1: warning: passed over: keys of type "sk-ssh-ed25519@openssh.com" have no algorithm number in SSHFP [sshfp-type]`},
		{"a certificate", ed25519Key + "\n" + line("ssh-ed25519-cert-v01@openssh.com", octetFields{"nonce"}), 1,
			`:2:1: warning: passed over: "ssh-ed25519-cert-v01@openssh.com" is a certificate, SSHFP is for plain keys [sshfp-type]`},
		{"a certificate of another key", ed25519Key + "\n" + line("ssh-rsa-cert-v01@openssh.com", octetFields{"nonce"}), 1,
			`:2:1: warning: not all keys of the host are published: a client that gets its "ssh-rsa-cert-v01@openssh.com" key refuses it as changed [sshfp-partial]` + "\n" +
				`:2:1: warning: passed over: "ssh-rsa-cert-v01@openssh.com" is a certificate, SSHFP is for plain keys [sshfp-type]`},
		{"an authority", "@cert-authority *.example.org " + ed25519Key + "\n" + ed25519Key, 1,
			":1:1: warning: passed over: SSHFP cannot name a certificate authority [sshfp-authority]"},
		{"another host", "other.example.org,192.0.2.1 " + rsaKey + "\n" + ed25519Key, 1,
			`:1:1: warning: passed over: "other.example.org,192.0.2.1" is not this host [sshfp-other-host]`},
		{"a short name", "host " + ed25519Key, 0, ":: the host is left out: no key that can be published [sshfp-empty]\n" +
			`:1:1: warning: passed over: "host" is not this host [sshfp-other-host]`},
		{"an address", "192.0.2.1,2001:db8::1 " + rsaKey + "\n" + ed25519Key, 1,
			`:1:1: warning: passed over: "192.0.2.1,2001:db8::1" is an address, OpenSSH looks for names [sshfp-address]`},
		{"an address with a port", "[192.0.2.1]:22 " + rsaKey + "\n" + ed25519Key, 1,
			`:1:1: warning: passed over: "[192.0.2.1]:22" is an address, OpenSSH looks for names [sshfp-address]`},
		{"a port", "[host.example.org]:2222 " + rsaKey + "\n" + ed25519Key, 1,
			`:1:1: warning: passed over: "[host.example.org]:2222" has a port, SSHFP has none [sshfp-port]`},
		{"a port of another host", "[www.example.org]:2222 " + rsaKey + "\n" + ed25519Key, 1,
			`:1:1: warning: passed over: "[www.example.org]:2222" is not this host [sshfp-other-host]`},
		{"a pattern", "*.example.org " + rsaKey + "\n" + hostName + ",!www.example.org " + rsaKey + "\n" + ed25519Key, 1,
			`:1:1: warning: passed over: "*.example.org" is a pattern [sshfp-pattern]` + "\n" +
				`:2:1: warning: passed over: "host.example.org,!www.example.org" is a pattern [sshfp-pattern]`},
		{"a bad hash", "|1|AAAA|AAAA " + ed25519Key, 0, `:1:1: the host is left out: no hashed name as ssh-keygen -H writes it [sshfp-hash]`},
		{"a hash of another kind", "|2|AAAA|AAAA " + ed25519Key, 0, `:1:1: the host is left out: no hashed name as ssh-keygen -H writes it [sshfp-hash]`},

		{"revoked", rsaKey + "\n" + ed25519Key + "\n@revoked * " + rsaKey, 1,
			":1:1: warning: not all keys of the host are published: a client that gets its \"ssh-rsa\" key refuses it as changed [sshfp-partial]\n" +
				":1:1: warning: not published: the key is revoked [sshfp-revoked] (where it is revoked at f:3:12)"},
		{"revoked for another", "@revoked www.example.org " + ed25519Key + "\n" + ed25519Key, 0,
			":: warning: nothing is published: no key is left that is not revoked [sshfp-none]\n" +
				":2:1: warning: not published: the key is revoked [sshfp-revoked] (where it is revoked at f:1:26)"},
		{"revoked without hosts", "@revoked " + rsaKey + "\n" + ed25519Key, 1, ``},
		{"revoked DSA", "@revoked * " + dsaKey + "\n" + ed25519Key, 1, ``},
		{"revoked and replaced", "@revoked * " + line("ssh-ed25519", octetFields{strings.Repeat("k", 32)}) + "\n" + ed25519Key, 1, ``},
		{"revoked, cut short", "@revoked * ssh-ed25519 " + cutKey[:8] + "\n" + ed25519Key, 1, `:1:24: the host is left out: the key is cut short [sshfp-key]`},
		{"revoked, of another type", "@revoked * ssh-rsa " + cutKey + "\n" + ed25519Key, 1,
			`:1:20: the host is left out: the line says "ssh-rsa", the key is of type "ssh-ed25519" [sshfp-key]`},

		{"two of a type", ed25519Key + "\n" + line("ssh-ed25519", octetFields{strings.Repeat("k", 32)}), 2,
			":2:1: warning: two Ed25519 keys: OpenSSH from 8.7 on refuses the host with either [sshfp-two-keys] (the other at f:1:1)"},
		{"two curves", ed25519Key + "\n" + ecdsaKey + "\n" + line("ecdsa-sha2-nistp384", ecFields{"nistp384", generator}), 3,
			":3:1: warning: two ECDSA keys: OpenSSH from 8.7 on refuses the host with either [sshfp-two-keys] (the other at f:2:1)"},
		{"no Ed25519", rsaKey + "\n" + ecdsaKey, 2, noEd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, faults := sshfp.Parse("f", host(), []byte(tt.text))
			faults.Sort()
			var got []string
			for _, f := range faults {
				place, rest, _ := strings.Cut(strings.TrimPrefix(f.String(), "f"), " ")
				if place == ":" {
					place = "::" // without a line
				}
				got = append(got, place+" "+strings.Replace(rest, hostName+".: ", "", 1))
			}
			if said := strings.Join(got, "\n"); said != tt.want {
				t.Errorf("\n%s\nwant\n%s", said, tt.want)
			}
			if len(keys.Published) != tt.keys {
				t.Errorf("%d keys, want %d", len(keys.Published), tt.keys)
			}
		})
	}
}

// TestManyFaults: a file cannot make a report without end, and too many keys
// refuse it.
func TestManyFaults(t *testing.T) {
	text := strings.Repeat("x\n", 924) + strings.Repeat("other "+ed25519Key+"\n", 100)
	_, faults := sshfp.Parse("f", host(), []byte(text))
	if len(faults) != 41 || faults[40].Message != "984 more faults of this file" || !faults.HasErrors() {
		t.Errorf("%d faults, the last %v", len(faults), faults[len(faults)-1])
	}
	var b strings.Builder
	for i := range 65 {
		b.WriteString(line("ssh-ed25519", octetFields{strings.Repeat(string(rune('0'+i)), 32)}) + "\n")
	}
	if _, faults := sshfp.Parse("f", host(), []byte(b.String())); len(faults) != 1 || faults[0].Code != "sshfp-many" || !faults.HasErrors() {
		t.Errorf("%v", faults)
	}
	_, faults = sshfp.Parse("f", host(), []byte("x\n"+text))
	if len(faults) != 1 || faults[0].Message != "the host is left out: more than 1024 lines" {
		t.Errorf("%v", faults)
	}
	_, faults = sshfp.Parse("f", host(), bytes.Repeat([]byte("#"), 64<<10+1))
	if len(faults) != 1 || faults[0].Message != "the host is left out: too large: more than 65536 octets" {
		t.Errorf("%v", faults)
	}
}

// FuzzParse: whatever is accepted is a key that x/crypto/ssh accepts too, with an
// algorithm number of its type, a fingerprint of 32 octets, and never one that
// the file revokes.
func FuzzParse(f *testing.F) {
	for _, k := range []string{rsaKey, dsaKey, ecdsaKey, ed25519Key, ed448Key} {
		f.Add([]byte(k))
		f.Add([]byte(hostName + ",192.0.2.1 " + k + "\n@revoked * " + ed25519Key))
		f.Add([]byte("# c\n|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= " + k))
	}
	numbers := map[string]uint8{"ssh-rsa": 1, "ecdsa-sha2-nistp256": 3, "ecdsa-sha2-nistp384": 3, "ecdsa-sha2-nistp521": 3, "ssh-ed25519": 4, "ssh-ed448": 6}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, faults := sshfp.Parse("f", host(), data)
		if len(keys.Published) == 0 && len(keys.Revoked) == 0 && !faults.HasErrors() {
			t.Error("no key, and no error")
		}
		for _, k := range keys.Published {
			if rdata := k.Rdata(sshfp.SHA256); len(rdata) != 34 || rdata[0] != numbers[k.Type] || rdata[0] == 0 || rdata[1] != 2 {
				t.Errorf("record %x of a key of type %q", rdata, k.Type)
			}
			for _, blob := range keys.Revoked {
				if bytes.Equal(blob, k.Blob) {
					t.Error("a revoked key")
				}
			}
			if k.Type == "ssh-ed448" {
				continue
			}
			other, err := ssh.ParsePublicKey(k.Blob)
			if err != nil && strings.Contains(err.Error(), "exponent too large") {
				continue // it takes 24 bits at most
			}
			if err != nil || other.Type() != k.Type || !bytes.Equal(other.Marshal(), k.Blob) {
				t.Errorf("x/crypto/ssh: %v", err)
			}
		}
	})
}
