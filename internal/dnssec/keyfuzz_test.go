package dnssec

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/domain"
)

// FuzzKeyFiles reads hostile key files. Nothing crashes it; no message holds what
// a .private file holds; a key that is accepted can sign; and a state that is
// accepted is written as it was read, but for spaces.
func FuzzKeyFiles(f *testing.F) {
	room := newKeyRoom(f)
	rsa := newKey(f, "example.org", GenerateOptions{Algorithm: 8})
	ed := newKey(f, "example.org", GenerateOptions{Algorithm: 15})
	for _, k := range []*Key{&room.ksk, &room.zsk, &rsa, &ed} {
		var parts [3][]byte
		for i, ext := range []string{".key", ".private", ".state"} {
			b, err := os.ReadFile(k.Path + ext)
			if err != nil {
				f.Fatal(err)
			}
			parts[i] = b
		}
		f.Add(parts[0], parts[1], parts[2])
		f.Add(parts[0], bytes.ReplaceAll(parts[1], []byte("Prime1"), []byte("Prime2")), parts[2][:50])
		f.Add(parts[0], parts[1][:len(parts[1])/2], []byte(""))
		f.Add(parts[0], []byte("Private-key-format: v1.3\nAlgorithm: 8\nModulus: AA==\n"), []byte("KSK: yes"))
	}
	dir := f.TempDir()
	apex := domain.MustParse("example.org")
	f.Fuzz(func(t *testing.T, public, private, state []byte) {
		_, rr, _, faults := parsePublic("K.key", public)
		if faults.HasErrors() {
			return
		}
		rr.Hdr.Name = apex.String()
		d := &KeyDir{dir: dir, files: map[domain.Name][]KeyFile{}}
		file := KeyFile{keyBase(apex, rr.Algorithm, rr.KeyTag()), rr.Algorithm, rr.KeyTag()}
		d.files[apex] = []KeyFile{file}
		for ext, data := range map[string][]byte{".key": public, ".private": private, ".state": state} {
			path := filepath.Join(dir, file.Base+ext)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(path)
		}
		keys, list := LoadKeys(d, apex, LoadOptions{})
		for _, l := range list {
			for line := range strings.Lines(string(private)) {
				_, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				if len(value) > 12 && strings.HasSuffix(l.Pos.File, ".private") && strings.Contains(l.Message, value) {
					t.Errorf("a message holds a line of the private key: %s", l.Message)
				}
			}
		}
		for i := range keys {
			if keys[i].Signer == nil {
				continue
			}
			if _, err := keys[i].SignData(nil, []byte("data")); err != nil {
				t.Errorf("an accepted key cannot sign: %v", err)
			}
		}
		s, faults := ParseKeyState("K.state", state)
		if faults.HasErrors() {
			return
		}
		once := s.Bytes()
		again, faults := ParseKeyState("K.state", once)
		if faults.HasErrors() || !bytes.Equal(again.Bytes(), once) {
			t.Errorf("the state is read back as\n%q\nnot\n%q\n%v", again.Bytes(), once, faults)
		}
	})
}
