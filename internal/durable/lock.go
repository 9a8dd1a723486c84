package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("locked by another process")

// Lock is a lock between processes (flock on a file). It ends with the process.
type Lock struct{ f *os.File }

// TryLock takes the lock of path, creating the file with mode 0644. Errors:
// ErrLocked, with the process id of the holder if that is known.
func TryLock(path string) (*Lock, error) {
	for {
		f, err := openLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, cause(err))
		}
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EINTR):
			f.Close()
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			defer f.Close()
			return nil, lockedBy(f)
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !current(f, path) {
			f.Close() // removed in the meantime: it keeps nobody out
			continue
		}
		// The process id is a courtesy for the message of others: a full disk must
		// not keep anybody from working.
		_ = f.Truncate(0)
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
		return &Lock{f}, nil
	}
}

// openLock opens a lock file and makes it usable by all who share the tree.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) { // a symbolic link (FreeBSD: EMLINK)
		return nil, errors.New("not a regular file with one name")
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	// The process id is written over what is there, so it must be our own file
	// and not a second name of a precious one.
	if st, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || ok && st.Nlink > 1 {
		f.Close()
		return nil, errors.New("not a regular file with one name")
	}
	// Both fail for a file of another user, who has set them already.
	if info.Mode().Perm() != 0o644 {
		_ = f.Chmod(0o644)
	}
	if o, ok := foreignOwner(filepath.Dir(path)); ok {
		_ = f.Chown(o.uid, o.gid)
	}
	return f, nil
}

func lockedBy(f *os.File) error {
	b, _ := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(b)); pid != "" && strings.Trim(pid, "0123456789") == "" {
		return fmt.Errorf("%w (pid %s)", ErrLocked, pid)
	}
	return ErrLocked
}

// Held reports whether somebody holds the lock of path now, and who, if that is known
// (0 if not). It takes nothing from anybody. Errors: it cannot be told.
func Held(path string) (pid int, held bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look at lock %s: %w", path, cause(err))
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 20))
	pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	if pid <= 0 { // its holder has let go, or has just taken it and not yet said who he is
		pid = 0
	}
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return pid, true, nil
		case err != nil:
			return 0, false, fmt.Errorf("look at lock %s: %w", path, err)
		default: // it ends with the file
			return 0, false, nil
		}
	}
}

// current reports whether f is what path names now.
func current(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(ours, there)
}

// LockWait is TryLock until the context ends: flock itself knows no time-out.
// It tries at least once. Errors: ErrLocked when the time is over.
func LockWait(ctx context.Context, path string) (*Lock, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		l, err := TryLock(path)
		if err == nil || !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// Stands reports whether the file of the lock is still the one of that name: another may
// be there, or none, and keeps nobody out.
func (l *Lock) Stands() bool { return current(l.f, l.f.Name()) }

// Unlock lets go of the lock. The file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Unlock() error {
	_ = l.f.Truncate(0) // the next holder's id is not there at once, and ours would be wrong
	// Explicitly: a command that is being started still holds the descriptor.
	err := unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	return errors.Join(err, l.f.Close())
}
