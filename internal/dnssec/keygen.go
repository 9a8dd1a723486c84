package dnssec

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	Algorithm uint8 // 8, 13, 14 or 15
	Role      Role
	Bits      int // RSA only, 2048 to 4096; 0 = 2048
	Now       time.Time
	Avoid     map[uint16]bool // more key tags that are not free, such as those still published
	Hidden    bool            // made for later: neither published nor signing until its state says so
}

// GenerateKey makes a key and its files in dir. It never overwrites a file, and
// it never makes a key with a tag that a key of the zone has, of whatever
// algorithm, revoked or not. The .key file comes last: a crash leaves nothing
// that counts as a key.
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
	bits, err := keyBits(o)
	if err != nil {
		return Key{}, fmt.Errorf("make a key for %s: %w", apex, err)
	}
	taken := d.takenTags(apex, o.Avoid)
	for range 100 {
		k := Key{KSK: o.Role != ZSK, ZSK: o.Role != KSK}
		k.Published, k.SignsKeys, k.SignsZone = !o.Hidden, k.KSK && !o.Hidden, k.ZSK && !o.Hidden
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
		revoked := k.DNSKEY
		revoked.Flags |= dns.REVOKE
		if k.Tag = k.DNSKEY.KeyTag(); taken[k.Tag] || taken[revoked.KeyTag()] {
			continue
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return Key{}, fmt.Errorf("make a key for %s: the key cannot sign", apex)
		}
		f := KeyFile{keyBase(apex, o.Algorithm, k.Tag), o.Algorithm, k.Tag}
		k.Signer, k.Path, k.State = signer, d.path(f), k.firstState(bits, o)
		if err := k.create(private, o); err != nil {
			return Key{}, fmt.Errorf("write key %d of %s: %w", k.Tag, apex, err)
		}
		d.files[apex] = append(d.files[apex], f)
		return k, nil
	}
	return Key{}, fmt.Errorf("make a key for %s: no free key tag", apex)
}

func keyBits(o GenerateOptions) (int, error) {
	switch {
	case !signable(o.Algorithm):
		return 0, fmt.Errorf("algorithm %d is not supported (8, 13, 14 and 15 are)", o.Algorithm)
	case o.Algorithm == dns.ECDSAP384SHA384:
		return 384, nil
	case o.Algorithm != dns.RSASHA256:
		return 256, nil
	case o.Bits == 0:
		return 2048, nil
	case o.Bits < 2048 || o.Bits > 4096:
		return 0, fmt.Errorf("%d bits: must be 2048 to 4096", o.Bits)
	}
	return o.Bits, nil
}

// takenTags are the tags that a new key must not have, neither as it is nor
// revoked: those of all files of the zone, of whatever algorithm, revoked or
// not; and 0, which some validators take for "no tag".
func (d *KeyDir) takenTags(apex domain.Name, avoid map[uint16]bool) map[uint16]bool {
	taken := map[uint16]bool{0: true}
	for tag, is := range avoid {
		taken[tag] = taken[tag] || is
	}
	for _, files := range [][]KeyFile{d.files[apex], d.loose[apex]} {
		for _, f := range files {
			// The REVOKE bit adds 128 to the sum, and 1 more when that carries
			// over (RFC 4034 App. B).
			taken[f.Tag], taken[f.Tag+dns.REVOKE], taken[f.Tag+dns.REVOKE+1] = true, true, true
		}
	}
	return taken
}

// create writes the files of a new key. What it wrote before a failure, it
// removes, unless its .key file came to be after all.
func (k *Key) create(private crypto.PrivateKey, o GenerateOptions) error {
	role := "zone-signing key"
	if k.KSK {
		role = "key-signing key"
	}
	public := fmt.Sprintf("; This is a %s, keyid %d, for %s\n", role, k.Tag, k.DNSKEY.Hdr.Name)
	secret := k.DNSKEY.PrivateKeyString(private)
	for _, event := range []string{"Created", "Publish", "Activate"} { // for BIND's tools; never read here
		if o.Hidden && event != "Created" {
			break
		}
		public += "; " + event + ": " + keyInstant(o.Now) + "\n"
		secret += event + ": " + o.Now.UTC().Format(keyStamp) + "\n"
	}
	public += fmt.Sprintf("%s IN DNSKEY %d 3 %d %s\n", k.DNSKEY.Hdr.Name, k.DNSKEY.Flags, k.DNSKEY.Algorithm, k.DNSKEY.PublicKey)
	var written []string
	for _, f := range []struct {
		ext  string
		data []byte
		mode fs.FileMode
	}{
		{".private", []byte(secret), 0o600},
		{".state", k.State.Bytes(), 0o600},
		{".key", []byte(public), 0o644},
	} {
		path := k.Path + f.ext
		if err := durable.CreateFile(path, f.data, durable.Options{Mode: f.mode}); err != nil {
			if _, there := os.Lstat(k.Path + ".key"); there == nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			for _, path := range written {
				err = errors.Join(err, durable.Remove(path))
			}
			return err
		}
		written = append(written, path)
	}
	return nil
}

// firstState is the state of a new key. A key of a first set is in use at once,
// and all it does is rumoured until caches have forgotten the zone without it;
// only then may its DS go to the parent.
func (k *Key) firstState(bits int, o GenerateOptions) *KeyState {
	s := &KeyState{lines: []stateLine{{value: fmt.Sprintf("; This is the state of key %d, for %s", k.Tag, k.DNSKEY.Hdr.Name)}}}
	answer := map[bool]string{true: "yes", false: "no"}
	s.Set("Algorithm", fmt.Sprint(o.Algorithm))
	s.Set("Length", fmt.Sprint(bits))
	s.Set("Lifetime", "0") // without end
	s.Set("KSK", answer[k.KSK])
	s.Set("ZSK", answer[k.ZSK])
	s.SetTime("Generated", o.Now)
	if !o.Hidden {
		s.SetTime("Published", o.Now)
		s.SetTime("Active", o.Now)
	}
	first := map[bool]KeyPhase{true: Hidden, false: Rumoured}[o.Hidden]
	things := []struct {
		name  string
		has   bool
		phase KeyPhase
	}{{"DNSKEY", true, first}, {"ZRRSIG", k.ZSK, first}, {"KRRSIG", k.KSK, first}, {"DS", k.KSK, Hidden}}
	for _, t := range things { // BIND's order: all instants, then all phases
		if t.has {
			s.SetTime(t.name+"Change", o.Now)
		}
	}
	for _, t := range things {
		if t.has {
			s.Set(t.name+"State", string(t.phase))
		}
	}
	s.Set("GoalState", string(map[bool]KeyPhase{true: Hidden, false: Omnipresent}[o.Hidden]))
	return s
}
