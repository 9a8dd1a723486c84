package dnssec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"zonebuild/internal/domain"
)

// KeyFile is one key's files: K<zone>.+<algorithm>+<tag> with the extensions
// .key, .private and .state, as BIND names them.
type KeyFile struct {
	Base      string // file name without extension
	Algorithm uint8
	Tag       uint16
}

// KeyDir is a listing of a keys directory, which several trees may share. It
// is read by many zones at once; Generate must have it alone.
type KeyDir struct {
	dir   string
	files map[domain.Name][]KeyFile
	loose map[domain.Name][]KeyFile // .private or .state without .key

	private bool
}

// ScanKeys lists a keys directory once, for all zones. A directory that does
// not exist holds no keys. A key exists when its .key file does; file names
// that are no key's are passed over.
func ScanKeys(dir string) (*KeyDir, error) {
	d := &KeyDir{dir: dir, files: map[domain.Name][]KeyFile{}, loose: map[domain.Name][]KeyFile{}}
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1) // sorted below, where there is little to sort
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	exists := make(map[string]bool, len(names)/3)
	add := func(to map[domain.Name][]KeyFile, base string) {
		if exists[base] {
			return
		}
		if apex, f, ok := parseKeyBase(base); ok {
			exists[base] = true
			to[apex] = append(to[apex], f)
		}
	}
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, ".key"); ok {
			add(d.files, base)
		}
	}
	for _, name := range names {
		switch ext := filepath.Ext(name); ext {
		case ".private":
			d.private = true
			fallthrough
		case ".state":
			add(d.loose, strings.TrimSuffix(name, ext))
		}
	}
	for _, list := range []map[domain.Name][]KeyFile{d.files, d.loose} {
		for _, keys := range list {
			slices.SortFunc(keys, func(a, b KeyFile) int { return strings.Compare(a.Base, b.Base) })
		}
	}
	return d, nil
}

// Files are the keys of a zone, by file name.
func (d *KeyDir) Files(apex domain.Name) []KeyFile { return d.files[apex] }

// Private reports whether there is any private key in the directory.
func (d *KeyDir) Private() bool { return d.private }

func (d *KeyDir) path(f KeyFile) string { return filepath.Join(d.dir, f.Base) }

// parseKeyBase reads the zone, algorithm and tag in the name of a key's files.
func parseKeyBase(base string) (apex domain.Name, f KeyFile, ok bool) {
	const tail = len("+013+00001")
	cut := len(base) - tail
	if cut < 2 || base[0] != 'K' || base[cut] != '+' || base[cut+4] != '+' {
		return apex, f, false
	}
	algorithm, err1 := strconv.ParseUint(base[cut+1:cut+4], 10, 8)
	tag, err2 := strconv.ParseUint(base[cut+5:], 10, 16)
	apex, err3 := domain.Parse(presentationOfKeyFile(base[1:cut]))
	return apex, KeyFile{base, uint8(algorithm), uint16(tag)}, err1 == nil && err2 == nil && err3 == nil
}

// presentationOfKeyFile turns the %XX of a file name into escapes of the
// presentation format. What other tools leave as it is (ldns-keygen: "a:b.",
// "a\032b.") is read as that.
func presentationOfKeyFile(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				fmt.Fprintf(&b, "\\%03d", v)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// keyBase names a key's files as dnssec-keygen does: the zone in lower case
// with its final dot, every octet but letters, digits, "-" and "_" as %XX. So
// the slash of an RFC 2317 zone is %2F.
func keyBase(apex domain.Name, algorithm uint8, tag uint16) string {
	b := []byte{'K'}
	wire := apex.Wire()
	for i := 0; i < len(wire) && wire[i] != 0; i += int(wire[i]) + 1 {
		for _, c := range []byte(wire[i+1 : i+1+int(wire[i])]) {
			if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
				b = append(b, c)
			} else {
				b = fmt.Appendf(b, "%%%02X", c)
			}
		}
		b = append(b, '.')
	}
	if apex == domain.Root {
		b = append(b, '.')
	}
	return string(fmt.Appendf(b, "+%03d+%05d", algorithm, tag))
}
