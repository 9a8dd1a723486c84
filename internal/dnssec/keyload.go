package dnssec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// LoadOptions of LoadKeys.
type LoadOptions struct {
	PublicOnly bool // leave the private keys alone: Signer stays nil
}

// LoadKeys reads the keys of a zone and checks them: the public key is the one
// that the file names say, the private key belongs to it and is nobody else's
// to read, no two have one tag. All faults are in the list; no secret is.
//
// What a key is good for stands in its .state file and nowhere else. Only when
// no key of the zone has a life on record is it taken from the flags, and only
// if it is beyond doubt: one SEP key and one other of an algorithm are its KSK
// and ZSK, a SEP key alone is a CSK, and they are in use. So the keys of
// dnssec-keygen and ldns-keygen serve a zone that starts with them, and no key
// gets into use by lying in the directory.
//
// A key that is neither published nor signs, of an algorithm that nothing here
// signs with, is passed over.
func LoadKeys(d *KeyDir, apex domain.Name, o LoadOptions) ([]Key, diag.List) {
	var faults diag.List
	var keys []Key
	idle := map[string]bool{} // paths of keys without a life
	places := map[string]diag.Pos{}
	tags := map[uint16]diag.Pos{}
	for _, f := range d.files[apex] {
		k, pos, l := loadPublic(d.path(f), apex, f)
		if other, ok := tags[f.Tag]; ok {
			l.Errorf(pos, "key-tag-duplicate", apex.String(), "key tag %d is that of another key of the zone too", f.Tag).At(other, "the other key")
		}
		tags[f.Tag] = pos
		if !l.HasErrors() {
			started, state := loadState(k)
			l = append(l, state...)
			idle[k.Path] = !started && !state.HasErrors()
			places[k.Path] = pos
		}
		if !l.HasErrors() {
			keys = append(keys, *k)
		}
		faults = append(faults, l...)
	}
	faults = append(faults, assumeLives(keys, idle)...)
	out := keys[:0]
	for _, k := range keys {
		if !signable(k.DNSKEY.Algorithm) {
			if k.Published || k.SignsZone || k.SignsKeys {
				faults.Errorf(places[k.Path], "key-algorithm", apex.String(), "algorithm %d is not supported (8, 13, 14 and 15 are)", k.DNSKEY.Algorithm)
			}
			continue
		}
		if !o.PublicOnly {
			l := k.loadPrivate()
			faults = append(faults, l...)
			if l.HasErrors() {
				continue
			}
		}
		out = append(out, k)
	}
	for _, f := range d.loose[apex] {
		faults.Warnf(diag.Pos{File: d.path(f) + ".key"}, "key-incomplete", apex.String(),
			"the key has other files but no .key file, so it is none: put that file back or remove the others")
	}
	return out, faults
}

func signable(algorithm uint8) bool {
	switch algorithm {
	case dns.RSASHA256, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

// loadPublic reads a .key file. The place is that of its record.
func loadPublic(path string, apex domain.Name, f KeyFile) (*Key, diag.Pos, diag.List) {
	pos := diag.Pos{File: path + ".key"}
	var faults diag.List
	data, _, err := readKeyFile(pos.File)
	if err != nil {
		faults.Errorf(pos, "key-file", apex.String(), "read the public key: %s", cause(err))
		return nil, pos, faults
	}
	owner, rr, at, faults := parsePublic(pos.File, data)
	if at.IsValid() {
		pos = at
	}
	for i := range faults {
		faults[i].Owner = apex.String()
	}
	if faults.HasErrors() {
		return nil, pos, faults
	}
	fault := func(format string, args ...any) {
		faults.Errorf(pos, "key-file", apex.String(), format, args...)
	}
	if owner != apex {
		fault("the key is of %s", owner)
	}
	if rr.Protocol != 3 {
		fault("protocol %d, must be 3", rr.Protocol)
	}
	if rr.Flags&dns.ZONE == 0 {
		fault("no zone key: its ZONE flag is not set")
	}
	if rr.Flags&dns.REVOKE != 0 {
		fault("the key is revoked")
	}
	if rr.Algorithm != f.Algorithm {
		fault("algorithm %d, the file name says %d", rr.Algorithm, f.Algorithm)
	}
	if tag := rr.KeyTag(); tag != f.Tag {
		fault("key tag %d, the file name says %d", tag, f.Tag)
	}
	k := &Key{DNSKEY: rr, Tag: f.Tag, Path: path, KSK: rr.Flags&dns.SEP != 0}
	k.ZSK = !k.KSK
	return k, pos, faults
}

// loadState reads the .state file of a key. A missing one is no fault; the key
// has not started then.
func loadState(k *Key) (started bool, faults diag.List) {
	file := k.Path + ".state"
	data, _, err := readKeyFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		faults.Errorf(diag.Pos{File: file}, "key-state", k.DNSKEY.Hdr.Name, "read the state: %s", cause(err))
		return false, faults
	}
	k.State, faults = ParseKeyState(file, data)
	for i := range faults {
		faults[i].Owner = k.DNSKEY.Hdr.Name
	}
	if faults.HasErrors() {
		return false, faults
	}
	return k.State.apply(k, file)
}

// assumeLives puts the keys without a life into use, or says why it cannot.
func assumeLives(keys []Key, idle map[string]bool) (faults diag.List) {
	started := false
	type roles struct{ ksk, zsk int }
	count := map[uint8]roles{}
	for i := range keys {
		started = started || !idle[keys[i].Path]
		n := count[keys[i].DNSKEY.Algorithm]
		if keys[i].KSK {
			n.ksk++
		}
		if keys[i].ZSK {
			n.zsk++
		}
		count[keys[i].DNSKEY.Algorithm] = n
	}
	for i := range keys {
		k := &keys[i]
		if !idle[k.Path] {
			continue
		}
		n := count[k.DNSKEY.Algorithm]
		_, told := k.State.Get("KSK")
		lone := n == roles{ksk: 1} && !told
		if started || n != (roles{1, 1}) && !lone {
			faults.Errorf(diag.Pos{File: k.Path + ".state"}, "key-state-missing", k.DNSKEY.Hdr.Name,
				"nothing says whether the key is in use, and the flags of the zone's keys leave it open: say so with dnssec-settime -s (-g, -k, -r, -z, -d), or move the key's files away")
			continue
		}
		k.ZSK = k.ZSK || lone
		k.Published, k.SignsKeys, k.SignsZone = true, k.KSK, k.ZSK
	}
	return faults
}

// loadPrivate reads the private key, if there is one. Its faults never carry
// what the file holds.
func (k *Key) loadPrivate() (faults diag.List) {
	pos := diag.Pos{File: k.Path + ".private"}
	fault := func(code, format string, args ...any) diag.List {
		faults.Errorf(pos, code, k.DNSKEY.Hdr.Name, format, args...)
		return faults
	}
	data, info, err := readKeyFile(pos.File)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !k.SignsZone && !k.SignsKeys:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fault("key-private-missing", "the key signs, but its private key is not here")
	case err != nil:
		return fault("key-private", "read the private key: %s", cause(err))
	}
	defer clear(data)
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fault("key-mode", "mode %04o: others can get at the private key, make it 0600 or 0400", mode)
	}
	for number, line := range bytes.Split(data, []byte("\n")) {
		name, value, _ := strings.Cut(string(line), ":")
		want := fmt.Sprint(k.DNSKEY.Algorithm)
		if got, _, _ := strings.Cut(strings.TrimSpace(value), " "); strings.EqualFold(name, "Algorithm") && got != want {
			pos.Line = number + 1
			return fault("key-private", "the private key is not of algorithm %s", want)
		}
	}
	if k.Signer, err = k.parsePrivate(data); err != nil {
		return fault("key-private", "%s", err)
	}
	if err := k.matches(); err != nil {
		k.Signer = nil
		return fault("key-private", "%s", err)
	}
	return nil
}

var errPrivate = errors.New("the file holds no private key that can be read")

// parsePrivate reads BIND's format, v1.2 or v1.3. The parser fills gaps with
// nothing; they are found here.
func (k *Key) parsePrivate(data []byte) (crypto.Signer, error) {
	private, err := k.DNSKEY.ReadPrivateKey(bytes.NewReader(data), "")
	if err != nil {
		return nil, errPrivate
	}
	switch p := private.(type) {
	case ed25519.PrivateKey:
		if len(p) != ed25519.PrivateKeySize {
			return nil, errPrivate
		}
	case *ecdsa.PrivateKey:
		raw, err := p.Bytes()
		if err != nil {
			return nil, errPrivate
		}
		clear(raw)
	case *rsa.PrivateKey:
		for _, prime := range p.Primes {
			if prime == nil || prime.Sign() <= 0 {
				return nil, errPrivate
			}
		}
		if p.D == nil || p.N == nil {
			return nil, errPrivate
		}
		p.Precompute() // else each signature does it again
		if p.Validate() != nil {
			return nil, errors.New("the private key does not belong to the public key, or is weaker than 1024 bits")
		}
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errPrivate
	}
	return signer, nil
}

// keyFileLimit is far above any key's files, in octets.
const keyFileLimit = 64 << 10

// readKeyFile reads a file of the keys directory. Symbolic links are followed:
// the directory is the operator's own. It does not wait for a FIFO.
func readKeyFile(path string) ([]byte, fs.FileInfo, error) {
	return durable.ReadFile(path, keyFileLimit)
}

func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
