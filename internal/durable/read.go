package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Faults of a file from a foreign directory.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("too large")
)

// OpenRegular opens dir/name as one opens a file that somebody else may have
// put there: no symbolic link in the place of the file is followed, no FIFO or
// device is waited for, and nothing but a regular file of at most max octets
// (0: of any size) is opened. The file may still grow: ReadRegular bounds what
// it reads too. Errors: ErrNotRegular, ErrTooLarge, fs.ErrNotExist.
func OpenRegular(dir, name string, max int64) (*os.File, os.FileInfo, error) {
	f, info, err := openRegular(dir, name, max)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", filepath.Join(dir, name), cause(err))
	}
	return f, info, nil
}

func openRegular(dir, name string, max int64) (_ *os.File, _ os.FileInfo, err error) {
	if !isBase(name) {
		return nil, nil, fmt.Errorf("%q is no file name", name)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EMLINK), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EOPNOTSUPP):
		return nil, nil, ErrNotRegular // a link (FreeBSD: EMLINK), a socket
	case err != nil:
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir, name))
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, ErrNotRegular
	case max > 0 && info.Size() > max:
		return nil, nil, tooLarge(max)
	}
	return f, info, nil
}

func tooLarge(max int64) error { return fmt.Errorf("%w: more than %d octets", ErrTooLarge, max) }

// ReadRegular is all of a file opened by OpenRegular: at most max octets.
func ReadRegular(dir, name string, max int64) ([]byte, os.FileInfo, error) {
	f, info, err := OpenRegular(dir, name, max)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := readAll(f, info, max)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", f.Name(), cause(err))
	}
	return data, info, nil
}

// Open opens a regular file that the operator named: symbolic links are
// followed, but no FIFO or device is waited for, and the file has at most max
// octets (0: any number). Errors: an fs.PathError with ErrNotRegular, ErrTooLarge
// or the system's.
func Open(path string, max int64) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	case max > 0 && info.Size() > max:
		err = &fs.PathError{Op: "open", Path: path, Err: tooLarge(max)}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// ReadFile is all of a file opened by Open: at most max octets.
func ReadFile(path string, max int64) ([]byte, os.FileInfo, error) {
	f, info, err := Open(path, max)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := readAll(f, info, max)
	if errors.Is(err, ErrTooLarge) {
		err = &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, info, err
}

// readAll reads an open file. The room is that of the size it had: growing into it
// would copy a large file over and over.
func readAll(f *os.File, info os.FileInfo, max int64) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, min(max, info.Size())+bytes.MinRead))
	_, err := data.ReadFrom(io.LimitReader(f, max+1))
	if err == nil && int64(data.Len()) > max {
		err = tooLarge(max)
	}
	return data.Bytes(), err
}
