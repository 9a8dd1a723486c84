package durable

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Bounds of what is unpacked.
const (
	maxUnpacked      = 8 << 30 // octets of its files
	maxUnpackedNames = 4 << 20
)

// Unpack makes a directory of the files, directories and symbolic links of a tar archive
// (POSIX.1-2001 pax), which appears when all of it is on the disk; what else the archive
// has is left out. There must be none of that name; the directory above it is there. What
// a killed process left of it is removed. Symbolic links may lead anywhere: whoever reads
// the directory minds them.
//
// Files are 0644 or 0755, directories 0755, less the umask. Root gives them to the owner
// of the directory above.
//
// Errors: a name that leads out of the directory or stands there twice, an archive that is
// no whole one or too large, and those of the file system. Nothing is left behind then.
func Unpack(archive io.Reader, dir string) error {
	temp := tempPath(dir)
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("unpack %s: %w", dir, err)
	}
	err := os.Mkdir(temp, 0o755)
	if err == nil {
		err = unpack(archive, temp)
	}
	if err == nil {
		err = Rename(temp, dir)
	}
	if err != nil {
		os.RemoveAll(temp) // the first error is the one to tell
		return fmt.Errorf("unpack %s: %w", dir, err)
	}
	return nil
}

func unpack(archive io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{root: root, left: maxUnpacked}
	u.owner, u.given = foreignOwner(filepath.Dir(dir))
	if err := u.own("."); err != nil {
		return err
	}
	r := tar.NewReader(archive)
	for range maxUnpackedNames {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return syncTree(dir)
		}
		if err == nil {
			err = u.take(h, r)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d names: %w", maxUnpackedNames, ErrTooLarge)
}

// unpacker writes the entries of one archive.
type unpacker struct {
	root  *os.Root
	left  int64 // octets that its files may still have
	owner owner
	given bool // to owner
}

func (u *unpacker) take(h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink:
	default:
		return nil
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%q leads out of the archive", h.Name)
	}
	if h.Typeflag == tar.TypeDir {
		return u.dir(name)
	}
	if err := u.dir(path.Dir(name)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return u.own(name)
	}
	mode := fs.FileMode(0o644)
	if h.Mode&0o100 != 0 {
		mode = 0o755
	}
	return u.file(name, mode, content)
}

func (u *unpacker) file(name string, mode fs.FileMode, content io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(content, u.left+1))
	if u.left -= n; err == nil && u.left < 0 {
		err = fmt.Errorf("%s: %w", name, tooLarge(maxUnpacked))
	}
	if err == nil {
		err = syncFile(f)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return u.own(name)
}

// dir makes a directory and those above it.
func (u *unpacker) dir(name string) error {
	if name == "." {
		return nil
	}
	if info, err := u.root.Lstat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := u.dir(path.Dir(name)); err != nil {
		return err
	}
	if err := u.root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return u.own(name)
}

func (u *unpacker) own(name string) error {
	if !u.given {
		return nil
	}
	return u.root.Lchown(name, u.owner.uid, u.owner.gid)
}

// RemoveAll removes a directory with all that is in it, and durably. One that is not there
// is no error.
func RemoveAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		err = syncDir(filepath.Dir(dir))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, cause(err))
	}
	return nil
}
