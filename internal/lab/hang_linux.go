package lab

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// Hang mounts over a directory a file system that does not answer, as one of a server
// that is gone: whoever looks there waits until the function is called, and gets an
// error then. Nothing is mounted any more behind that.
func Hang(t testing.TB, dir string) (end func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		skip(t, fmt.Sprintf("no file system can be made that hangs: /dev/fuse: %v", err))
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("hang", dir, "fuse", 0, data); err != nil {
		unix.Close(fd)
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			unix.Close(fd)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	}
	t.Cleanup(end)
	return end
}
