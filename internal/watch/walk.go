package watch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"zonebuild/internal/durable"
)

// stamp is what stat tells of a file: as long as it is the same, and not too
// young, so is the content.
type stamp struct {
	dev, ino     uint64
	mode         uint32
	size         int64
	mtime, ctime int64 // nanoseconds since 1970
}

// known is what a path was at the last look.
type known struct {
	stamp
	read   time.Time // when; zero: by the stamp alone nothing is known
	digest [sha256.Size]byte
}

// walk is one look at a source.
type walk struct {
	*eye
	ctx   context.Context
	full  bool
	now   time.Time
	names int // listed so far
	seen  map[string]bool
	blind []string // directories of which the content is not known now
	sight Sight
	buf   []byte // for reading
}

// root looks at one path of the source.
func (w *walk) root(path string) {
	w.watch.anchor(path)
	st, err := stat(path, true)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
	case err != nil:
		w.blindTo(path, err)
	case st.mode&unix.S_IFMT == unix.S_IFDIR:
		w.dir(path, w.Depth)
	default:
		w.file(filepath.Dir(path), filepath.Base(path), st)
	}
}

// dir looks at a directory and at those below it.
func (w *walk) dir(path string, depth int) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK
	if w.Distrusted && !slices.Contains(w.paths, path) {
		flags |= unix.O_NOFOLLOW
	}
	f, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		w.blindTo(path, err)
		return
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		w.blindTo(path, err)
		return
	}
	if !w.watch.kqueue { // before it is listed: what comes later is told
		w.watch.dir(path, stampOf(&st))
	}
	entries, err := f.ReadDir(w.MaxFiles - w.names + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		w.blindTo(path, err)
		return
	}
	if w.names += len(entries); w.names > w.MaxFiles {
		w.blindTo(path, errors.New("too many names"))
		w.names = w.MaxFiles
		return
	}
	if w.watch.kqueue && len(entries) <= kqueueDir {
		w.watch.dir(path, stampOf(&st))
	}
	w.saw(path, known{digest: sha256.Sum256([]byte("directory"))})
	for _, entry := range entries {
		if w.ctx.Err() != nil {
			return
		}
		if name := entry.Name(); w.keeps(name) {
			w.entry(path, name, depth)
		}
	}
}

// entry looks at a name in a directory.
func (w *walk) entry(dir, name string, depth int) {
	path := filepath.Join(dir, name)
	st, err := stat(path, !w.Distrusted)
	switch {
	case errors.Is(err, fs.ErrNotExist) && w.Distrusted:
		return // gone since it was listed
	case err != nil: // a link to nothing is what a reader would find, too
		w.fault(path, stamp{}, err)
	case st.mode&unix.S_IFMT == unix.S_IFDIR:
		if depth > 0 && name[0] != '.' {
			w.dir(path, depth-1)
		}
	default:
		w.file(dir, name, st)
	}
}

// file compares a file with what it was.
func (w *walk) file(dir, name string, st stamp) {
	path := filepath.Join(dir, name)
	old, had := w.known[path]
	if had && !w.full && old.stamp == st && !old.read.IsZero() && old.read.UnixNano()-st.ctime > int64(sameTick) {
		w.seen[path] = true
		return
	}
	if st.mode&unix.S_IFMT != unix.S_IFREG {
		w.fault(path, st, durable.ErrNotRegular)
		return
	}
	digest, read, err := w.hash(dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.unsettled(path)
		return
	case err != nil:
		w.fault(path, st, err)
		return
	}
	k := known{stamp: read.stamp, read: w.now, digest: digest}
	if read.moving {
		w.sight.Unsettled = true
		k.read = time.Time{}
	}
	w.saw(path, k)
}

// fault is a path that gives no content, but an error: that is a content, too. Of a
// link that is not followed and a file that is too large nobody knows what they hold,
// and for others they may be of use: another one is another content.
func (w *walk) fault(path string, st stamp, err error) {
	text := "unreadable"
	for _, known := range []error{durable.ErrNotRegular, durable.ErrTooLarge} {
		if errors.Is(err, known) {
			text = known.Error()
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		text = errno.Error()
	}
	if st.mode&unix.S_IFMT == unix.S_IFLNK || errors.Is(err, durable.ErrTooLarge) {
		text += fmt.Sprint(" ", st.dev, st.ino, st.size, st.mtime)
	}
	w.saw(path, known{stamp: st, read: w.now, digest: sha256.Sum256([]byte("fault: " + text))})
}

// blindTo notes a directory whose content cannot be known now.
func (w *walk) blindTo(path string, err error) {
	w.fault(path, stamp{}, err)
	w.blind = append(w.blind, path)
}

// unsettled keeps a path as it was: it is being replaced.
func (w *walk) unsettled(path string) {
	w.sight.Unsettled = true
	if old, had := w.known[path]; had {
		w.seen[path] = true
		old.read = time.Time{}
		w.known[path] = old
	}
}

// saw notes what a path is now.
func (w *walk) saw(path string, k known) {
	old, had := w.known[path]
	w.known[path], w.seen[path] = k, true
	if had && old.digest == k.digest {
		return
	}
	kind := Changed
	if !had {
		kind = Appeared
	}
	w.sight.Changes = append(w.sight.Changes, Change{
		Source: w.Name, File: File{Path: path, Size: k.size, MTime: k.mtime}, Kind: kind,
	})
}

// vanish finds what is no longer there. Of a directory that cannot be listed
// nothing is known to have gone.
func (w *walk) vanish() {
	if w.ctx.Err() != nil {
		return
	}
	for path := range w.known {
		if w.seen[path] || slices.ContainsFunc(w.blind, func(dir string) bool { return isUnder(path, dir) }) {
			continue
		}
		delete(w.known, path)
		w.sight.Changes = append(w.sight.Changes, Change{Source: w.Name, File: File{Path: path}, Kind: Vanished})
	}
}

// reading is what a file was while it was read.
type reading struct {
	stamp
	moving bool // it was written meanwhile
}

// hash reads a file.
func (w *walk) hash(dir, name string) (digest [sha256.Size]byte, r reading, err error) {
	var f *os.File
	if w.Distrusted {
		f, _, err = durable.OpenRegular(dir, name, w.MaxSize)
	} else {
		f, _, err = durable.Open(filepath.Join(dir, name), w.MaxSize)
	}
	if err != nil {
		return digest, r, err
	}
	defer f.Close()
	var before, after unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &before); err != nil {
		return digest, r, err
	}
	h := sha256.New()
	if w.buf == nil {
		w.buf = make([]byte, 64<<10)
	}
	n, err := io.CopyBuffer(h, io.LimitReader(f, w.MaxSize+1), w.buf)
	if err == nil && n > w.MaxSize {
		err = durable.ErrTooLarge // it grew
	}
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &after)
	}
	if err != nil {
		return digest, r, err
	}
	r.stamp = stampOf(&after)
	r.moving = stampOf(&before) != r.stamp || n != r.size
	return [sha256.Size]byte(h.Sum(nil)), r, nil
}

func stat(path string, follow bool) (stamp, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if follow {
		flags = 0
	}
	var st unix.Stat_t
	for {
		err := unix.Fstatat(unix.AT_FDCWD, path, &st, flags)
		if err == nil {
			return stampOf(&st), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
	}
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{
		dev: uint64(st.Dev), ino: uint64(st.Ino), mode: uint32(st.Mode), size: st.Size,
		mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
	}
}
