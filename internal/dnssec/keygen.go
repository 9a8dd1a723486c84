package dnssec

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// Role of a key.
type Role uint8

const (
	KSK Role = iota // signs the DNSKEY set
	ZSK             // signs the records
	CSK             // signs both
)

// GenerateOptions of GenerateKey.
type GenerateOptions struct {
	Algorithm uint8
	Role      Role
	Bits      int // RSA only; 0 = 2048
	Now       time.Time
}

// GenerateKey makes a key and its files in dir. It never overwrites one, and it
// never makes a key with a tag that a key of the zone has, revoked or not. The
// .key file comes last: a crash leaves nothing that counts as a key.
func GenerateKey(dir string, apex domain.Name, o GenerateOptions) (Key, error) {
	d, err := ScanKeys(dir)
	if err != nil {
		return Key{}, err
	}
	return d.Generate(apex, o)
}

// Generate is GenerateKey for a directory that is listed already; the new key
// joins the listing.
func (d *KeyDir) Generate(apex domain.Name, o GenerateOptions) (Key, error) {
	used := map[uint16]bool{0: true} // RRSIGs with tag 0 are refused by some libraries
	for _, f := range d.Files(apex) {
		used[f.Tag], used[f.Tag+dns.REVOKE] = true, true
	}
	bits := map[uint8]int{dns.RSASHA256: max(o.Bits, 2048), dns.ECDSAP256SHA256: 256, dns.ECDSAP384SHA384: 384, dns.ED25519: 256}[o.Algorithm]
	if bits == 0 {
		return Key{}, fmt.Errorf("make a key for %s: algorithm %d is not supported", apex, o.Algorithm)
	}
	for range 100 {
		k := Key{KSK: o.Role != ZSK, ZSK: o.Role != KSK, Published: true, SignsKeys: o.Role != ZSK, SignsZone: o.Role != KSK}
		k.DNSKEY = dns.DNSKEY{
			Hdr:   dns.RR_Header{Name: apex.String(), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
			Flags: dns.ZONE, Protocol: 3, Algorithm: o.Algorithm,
		}
		if k.KSK {
			k.DNSKEY.Flags |= dns.SEP
		}
		private, err := k.DNSKEY.Generate(bits)
		if err != nil {
			return Key{}, fmt.Errorf("make a key for %s: %w", apex, err)
		}
		if k.Tag = k.DNSKEY.KeyTag(); used[k.Tag] || used[k.Tag+dns.REVOKE] {
			continue
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return Key{}, fmt.Errorf("make a key for %s: the key cannot sign", apex)
		}
		k.Signer, k.Base = signer, keyBase(apex, o.Algorithm, k.Tag)
		if err := k.write(d.dir, private, bits, o.Now); err != nil {
			return Key{}, err
		}
		d.files[apex] = append(d.files[apex], KeyFile{k.Base, o.Algorithm, k.Tag})
		return k, nil
	}
	return Key{}, fmt.Errorf("make a key for %s: no free key tag", apex)
}

func (k *Key) write(dir string, private crypto.PrivateKey, bits int, now time.Time) error {
	stamp := now.UTC().Format("20060102150405")
	times := fmt.Sprintf("Created: %[1]s\nPublish: %[1]s\nActivate: %[1]s\n", stamp)
	role := "zone-signing key"
	if k.KSK {
		role = "key-signing key"
	}
	public := fmt.Sprintf("; This is a %s, keyid %d, for %s\n%s IN DNSKEY %d 3 %d %s\n",
		role, k.Tag, k.DNSKEY.Hdr.Name, k.DNSKEY.Hdr.Name, k.DNSKEY.Flags, k.DNSKEY.Algorithm, k.DNSKEY.PublicKey)
	for _, f := range []struct {
		ext, text string
		mode      fs.FileMode
	}{
		{".private", k.DNSKEY.PrivateKeyString(private) + times, 0o600},
		{".state", k.stateText(bits, now), 0o600},
		{".key", public, 0o644},
	} {
		path := filepath.Join(dir, k.Base+f.ext)
		if err := durable.CreateFile(path, []byte(f.text), durable.Options{Mode: f.mode}); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("write key %d: %s exists", k.Tag, path)
			}
			return fmt.Errorf("write key %d: %w", k.Tag, err)
		}
	}
	return nil
}

// stateText is the .state file of a first key: nobody has seen the zone
// unsigned under it, so its records count as known everywhere; its DS does not
// exist yet.
func (k *Key) stateText(bits int, now time.Time) string {
	stamp := now.UTC().Format("20060102150405") + " (" + now.UTC().Format("Mon Jan _2 15:04:05 2006") + ")"
	yes := map[bool]string{true: "yes", false: "no"}
	s := fmt.Sprintf("; This is the state of key %d, for %s\nAlgorithm: %d\nLength: %d\nLifetime: 0\nKSK: %s\nZSK: %s\n",
		k.Tag, k.DNSKEY.Hdr.Name, k.DNSKEY.Algorithm, bits, yes[k.KSK], yes[k.ZSK])
	s += fmt.Sprintf("Generated: %[1]s\nPublished: %[1]s\nActive: %[1]s\nDNSKEYChange: %[1]s\n", stamp)
	if k.ZSK {
		s += "ZRRSIGChange: " + stamp + "\n"
	}
	if k.KSK {
		s += "KRRSIGChange: " + stamp + "\nDSChange: " + stamp + "\n"
	}
	s += "DNSKEYState: omnipresent\n"
	if k.ZSK {
		s += "ZRRSIGState: omnipresent\n"
	}
	if k.KSK {
		s += "KRRSIGState: omnipresent\nDSState: hidden\n"
	}
	return s + "GoalState: omnipresent\n"
}
