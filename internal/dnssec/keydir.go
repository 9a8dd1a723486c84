package dnssec

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// KeyFile is one key's files: K<zone>.+<algorithm>+<tag> with the extensions
// .key, .private and .state.
type KeyFile struct {
	Base      string
	Algorithm uint8
	Tag       uint16
}

// KeyDir is a listing of a keys directory.
type KeyDir struct {
	dir   string
	files map[domain.Name][]KeyFile
}

// ScanKeys lists a keys directory once, for all zones. A directory that does
// not exist holds no keys. A key exists when its .key file does.
func ScanKeys(dir string) (*KeyDir, error) {
	kd := &KeyDir{dir: dir, files: map[domain.Name][]KeyFile{}}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return kd, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	form := regexp.MustCompile(`^K(.+)\+([0-9]{3})\+([0-9]{5})\.key$`)
	for _, e := range entries {
		m := form.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		apex, ok := zoneOfKey(m[1])
		alg, err1 := strconv.ParseUint(m[2], 10, 8)
		tag, err2 := strconv.ParseUint(m[3], 10, 16)
		if !ok || err1 != nil || err2 != nil {
			continue
		}
		kd.files[apex] = append(kd.files[apex], KeyFile{strings.TrimSuffix(e.Name(), ".key"), uint8(alg), uint16(tag)})
	}
	return kd, nil
}

// zoneOfKey reads the zone in a key file's name; a slash of an RFC 2317 name is
// written %2F there.
func zoneOfKey(s string) (domain.Name, bool) {
	s = strings.NewReplacer("%2F", "/", "%2f", "/").Replace(s)
	n, err := domain.Parse(s)
	return n, err == nil
}

func keyBase(apex domain.Name, algorithm uint8, tag uint16) string {
	return fmt.Sprintf("K%s+%03d+%05d", strings.ReplaceAll(apex.String(), "/", "%2F"), algorithm, tag)
}

// Files are the keys of a zone, by file name.
func (d *KeyDir) Files(apex domain.Name) []KeyFile { return d.files[apex] }

// Has reports whether a key's .key file is there.
func (d *KeyDir) Has(apex domain.Name, algorithm uint8, tag uint16) bool {
	return slices.ContainsFunc(d.files[apex], func(f KeyFile) bool { return f.Algorithm == algorithm && f.Tag == tag })
}

// LoadOptions of LoadKeys.
type LoadOptions struct{}

// LoadKeys reads the keys of a zone and checks them: the public key is the one
// the file names say, the private key belongs to it and is nobody else's to
// read, no two have one tag. All faults are in the list; no secret is.
func LoadKeys(d *KeyDir, apex domain.Name, _ LoadOptions) ([]Key, diag.List) {
	var out []Key
	var faults diag.List
	tags := map[uint16]string{}
	for _, f := range d.files[apex] {
		path := filepath.Join(d.dir, f.Base)
		pos := diag.Pos{File: path + ".key"}
		k, err := loadPublic(path, apex, f)
		if err != nil {
			faults.Errorf(pos, "key-file", apex.String(), "%s", err)
			continue
		}
		if other, ok := tags[k.Tag]; ok {
			faults.Errorf(pos, "key-tag-duplicate", apex.String(), "key tag %d is that of %s too", k.Tag, other)
		}
		tags[k.Tag] = f.Base
		if err := k.loadState(path + ".state"); err != nil {
			faults.Errorf(diag.Pos{File: path + ".state"}, "key-state", apex.String(), "%s", err)
			continue
		}
		if k.SignsZone || k.SignsKeys {
			code, err := k.loadPrivate(path + ".private")
			if err != nil {
				faults.Errorf(diag.Pos{File: path + ".private"}, code, apex.String(), "%s", err)
				continue
			}
		}
		out = append(out, *k)
	}
	if !faults.HasErrors() {
		assumeRoles(out)
	}
	return out, faults
}

func loadPublic(path string, apex domain.Name, f KeyFile) (*Key, error) {
	src, err := os.Open(path + ".key")
	if err != nil {
		return nil, errors.New("read the public key: " + cause(err))
	}
	defer src.Close()
	p := dns.NewZoneParser(src, "", "")
	p.SetDefaultTTL(3600)
	var key *dns.DNSKEY
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		k, isKey := rr.(*dns.DNSKEY)
		if !isKey || key != nil {
			return nil, errors.New("the file must hold one DNSKEY record and nothing else")
		}
		key = k
	}
	switch {
	case p.Err() != nil || key == nil:
		return nil, errors.New("the file holds no DNSKEY record that can be read")
	case !strings.EqualFold(key.Hdr.Name, apex.String()):
		return nil, fmt.Errorf("the key is of %s", key.Hdr.Name)
	case key.Protocol != 3:
		return nil, fmt.Errorf("protocol %d, must be 3", key.Protocol)
	case key.Flags&dns.ZONE == 0:
		return nil, errors.New("no zone key: its ZONE flag is not set")
	case key.Flags&dns.REVOKE != 0:
		return nil, errors.New("the key is revoked")
	case key.Algorithm != f.Algorithm:
		return nil, fmt.Errorf("algorithm %d, the file name says %d", key.Algorithm, f.Algorithm)
	case key.KeyTag() != f.Tag:
		return nil, fmt.Errorf("key tag %d, the file name says %d", key.KeyTag(), f.Tag)
	}
	key.Hdr = dns.RR_Header{Name: apex.String(), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET}
	return &Key{DNSKEY: *key, Tag: f.Tag, Base: f.Base}, nil
}

// loadPrivate reads the private key. Its errors never carry what the file holds.
func (k *Key) loadPrivate(path string) (code string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "key-private-missing", errors.New("read the private key: " + cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "key-private-missing", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "key-mode", fmt.Errorf("mode %04o: others can read the private key, make it 0600 or 0400", info.Mode().Perm())
	}
	private, err := k.DNSKEY.ReadPrivateKey(f, "")
	if err != nil {
		return "key-private", errors.New("the file holds no private key that can be read")
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return "key-private", errors.New("the private key cannot sign")
	}
	k.Signer = signer
	if err := k.matches(); err != nil {
		return "key-private", err
	}
	return "", nil
}

func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
