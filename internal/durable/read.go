package durable

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ReadRegular reads dir/name as one reads a file that somebody else may have
// put there: no symbolic link is followed, no FIFO or device is waited for, and
// nothing but a regular file of at most max octets is read.
func ReadRegular(dir, name string, max int64) ([]byte, os.FileInfo, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: filepath.Join(dir, name), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir, name))
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("read %s: not a regular file", f.Name())
	}
	if info.Size() > max {
		return nil, nil, fmt.Errorf("read %s: larger than %d octets", f.Name(), max)
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > max {
		return nil, nil, fmt.Errorf("read %s: larger than %d octets", f.Name(), max)
	}
	return data, info, nil
}
