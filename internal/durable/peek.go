package durable

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Stamp tells a version of a file from others: its size in octets and its
// modification time in nanoseconds since 1970.
type Stamp struct{ Size, MTime int64 }

// Peek reads the beginning of a regular file that the operator named into buf, as
// Open and a read would, for many small files: without an os.File. It reads as
// much as the file had when it was opened, and n < of.Size only where buf is full or
// the file was cut meanwhile. Errors: as Open.
func Peek(path string, buf []byte) (n int, of Stamp, err error) {
	return peek(unix.AT_FDCWD, path, path, 0, buf)
}

// PeekAt is Peek of a file in an open directory. No symbolic link in the place of
// the file is followed: that is an error, whose number depends on the system.
func PeekAt(dir *os.File, name string, buf []byte) (n int, of Stamp, err error) {
	if !isBase(name) {
		return 0, of, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	c, err := dir.SyscallConn()
	if err != nil {
		return 0, of, err
	}
	var why error
	if err := c.Control(func(fd uintptr) { n, of, why = peek(int(fd), name, name, unix.O_NOFOLLOW, buf) }); err != nil {
		return 0, of, err
	}
	return n, of, why
}

func peek(dir int, name, shown string, flags int, buf []byte) (n int, of Stamp, err error) {
	failed := func(op string, err error) (int, Stamp, error) {
		return 0, Stamp{}, &fs.PathError{Op: op, Path: shown, Err: err}
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
	})
	if err != nil {
		return failed("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if _, err := retry(func() (int, error) { return 0, unix.Fstat(fd, &st) }); err != nil {
		return failed("stat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return failed("open", ErrNotRegular)
	}
	of = Stamp{st.Size, st.Mtim.Nano()}
	for n < len(buf) && int64(n) < of.Size {
		m, err := retry(func() (int, error) { return unix.Read(fd, buf[n:]) })
		if err != nil {
			return failed("read", err)
		}
		if m == 0 {
			break
		}
		n += m
	}
	return n, of, nil
}

// StampOf is the stamp of whatever is at path; of a symbolic link its own. Errors:
// the system's, such as fs.ErrNotExist.
func StampOf(path string) (Stamp, error) {
	var st unix.Stat_t
	if _, err := retry(func() (int, error) { return 0, unix.Lstat(path, &st) }); err != nil {
		return Stamp{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return Stamp{st.Size, st.Mtim.Nano()}, nil
}

// Writable reports whether files can be made in a directory: not on a file system
// that is mounted read-only.
func Writable(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }

// retry calls again what a signal interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}
