package durable

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestUnpackOfTar: what tar(1) packs comes back as it was.
func TestUnpackOfTar(t *testing.T) {
	from := t.TempDir()
	long := strings.Repeat("a-long-name/", 20)
	for name, text := range map[string]string{"a": "1", "empty": "", long + "x": "deep", "ä \n\"": "odd", "script": "#!"} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(from, "script"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../etc", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	archive, err := exec.Command("tar", "-C", from, "-cf", "-", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	to := filepath.Join(dir, "to")
	if err := os.MkdirAll(filepath.Join(dir, ".to.tmp/left"), 0o755); err != nil { // by a killed process
		t.Fatal(err)
	}
	if err := Unpack(bytes.NewReader(archive), to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("diff", "-r", "--no-dereference", from, to).CombinedOutput(); err != nil {
		t.Errorf("%s %v", out, err)
	}
	for name, mode := range map[string]fs.FileMode{"a": 0o644, "script": 0o755} {
		if info, err := os.Stat(filepath.Join(to, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestUnpackRefuses: an archive that is none, or whose names lead elsewhere, leaves nothing.
func TestUnpackRefuses(t *testing.T) {
	pack := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range headers {
			h := headers[i]
			h.Mode = 0o644
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, h.Size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	file := tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 3000}
	whole := pack(file)
	for what, archive := range map[string][]byte{
		"cut off":               whole[:2000],
		"no archive":            bytes.Repeat([]byte("x"), 1024),
		"up":                    pack(tar.Header{Name: "../a", Typeflag: tar.TypeReg}),
		"absolute":              pack(tar.Header{Name: "/a", Typeflag: tar.TypeReg}),
		"link":                  pack(tar.Header{Name: "../l", Typeflag: tar.TypeSymlink, Linkname: "x"}),
		"twice":                 pack(file, file),
		"through a link":        pack(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, tar.Header{Name: "l/a", Typeflag: tar.TypeReg}),
		"to a link":             pack(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../out"}, tar.Header{Name: "l", Typeflag: tar.TypeReg, Size: 1}),
		"a directory of a file": pack(file, tar.Header{Name: "a/b", Typeflag: tar.TypeReg}),
	} {
		dir := t.TempDir()
		if err := Unpack(bytes.NewReader(archive), filepath.Join(dir, "to")); err == nil {
			t.Errorf("%s: taken", what)
		}
		var left []string
		filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			left = append(left, path)
			return err
		})
		if !slices.Equal(left, []string{dir}) {
			t.Errorf("%s: left behind: %q", what, left)
		}
	}

	// Other kinds are left out.
	dir := t.TempDir()
	to := filepath.Join(dir, "to")
	if err := Unpack(bytes.NewReader(pack(tar.Header{Name: "fifo", Typeflag: tar.TypeFifo}, tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, file)), to); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(to); err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
	if err := Unpack(bytes.NewReader(whole), to); err == nil {
		t.Error("a directory that is there was written over")
	}
	if err := RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := RemoveAll(to); err != nil {
		t.Errorf("once more: %v", err)
	}
}
