package watch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Bounds of listening: what a writer does beyond them overflows in the kernel,
// in the queue of his own source, and costs one look.
const (
	pace      = 5 * time.Millisecond
	perPace   = 64 // events
	maxWatchs = 1 << 16
)

// notifier is the part of fsnotify that is used. Errors and events end when it
// is closed.
type notifier interface {
	Add(path string) error
	Remove(path string) error
	Events() <-chan fsnotify.Event
	Errors() <-chan error
	Close() error
}

type realNotifier struct{ *fsnotify.Watcher }

func newNotify() (notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return realNotifier{w}, nil
}

func (n realNotifier) Events() <-chan fsnotify.Event { return n.Watcher.Events }
func (n realNotifier) Errors() <-chan error          { return n.Watcher.Errors }

// place is a directory by its identity; the path may come to mean another.
type place struct{ dev, ino uint64 }

// interest is why a directory is watched.
type interest struct {
	place
	all   bool            // everything in it counts
	bases map[string]bool // only these names
}

// watches are the watched directories of one source. Each source has a queue
// of its own, so that one that overflows takes no event from others.
type watches struct {
	notifier        // nil: the source is polled only
	name     string // of the source
	warn     func(error)
	kqueue   bool

	broken  map[string]bool // directories that cannot be watched, until the next full look; "" = no more can
	now     map[string]*interest
	next    map[string]*interest
	places  map[place]string // in next
	current atomic.Pointer[map[string]*interest]
	closed  atomic.Bool // a look may run all the same: one on a dead mount is not waited for
}

// begin starts the choice of directories anew.
func (w *watches) begin(full bool) {
	w.next, w.places = map[string]*interest{}, map[place]string{}
	if full {
		w.broken = nil
	}
}

// dir watches all of a directory.
func (w *watches) dir(path string, st stamp) {
	if i := w.add(path, st); i != nil {
		i.all = true
	}
}

// anchor watches for a path to become another: where it has a symbolic link, or
// a component that is missing, and where its last component is.
func (w *watches) anchor(path string) {
	if w.notifier == nil || w.kqueue {
		return
	}
	links := 0
	done, rest := "/", strings.Trim(path, "/")
	for rest != "" {
		part, after, _ := strings.Cut(rest, "/")
		at := filepath.Join(done, part)
		info, err := os.Lstat(at)
		if err != nil || after == "" || info.Mode()&os.ModeSymlink != 0 {
			w.base(done, part)
		}
		if err != nil {
			return
		}
		if info.Mode()&os.ModeSymlink == 0 {
			done, rest = at, after
			continue
		}
		to, err := os.Readlink(at)
		if links++; err != nil || links > maxAnchors {
			return
		}
		if filepath.IsAbs(to) {
			done = "/"
		}
		// ".." behind a link is resolved by name, which is right in what was resolved already.
		rest = strings.Trim(filepath.Join(to, after), "/")
		for strings.HasPrefix(rest, "..") {
			done, rest = filepath.Dir(done), strings.TrimPrefix(strings.TrimPrefix(rest, ".."), "/")
		}
	}
}

// base watches one name in a directory.
func (w *watches) base(dir, name string) {
	st, err := stat(dir, true)
	if err != nil {
		return
	}
	if i := w.add(dir, st); i != nil {
		i.bases[name] = true
	}
}

// add watches a directory, also one that is watched already: that costs little,
// and mends a watch of which the system let go.
func (w *watches) add(path string, st stamp) *interest {
	if w.notifier == nil || w.broken[""] || w.broken[path] || len(w.next) >= maxWatchs {
		return nil
	}
	at := place{st.dev, st.ino}
	if other, ok := w.places[at]; ok { // the same directory by another path: one watch, named by the first
		return w.next[other]
	}
	old := w.now[path]
	if old != nil && old.place != at {
		_ = w.Remove(path) // it watches what is no longer there
	}
	if old == nil || old.place != at || !w.kqueue {
		if err := w.Add(path); err != nil {
			if !errors.Is(err, os.ErrNotExist) && !w.closed.Load() {
				w.warn(err)
				if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) { // the system has none left
					path = ""
				}
				if w.broken == nil {
					w.broken = map[string]bool{}
				}
				w.broken[path] = true
			}
			return nil
		}
	}
	i := &interest{place: at, bases: map[string]bool{}}
	w.next[path], w.places[at] = i, path
	return i
}

// end lets go of what is no longer watched.
func (w *watches) end() {
	if w.notifier == nil {
		return
	}
	for path := range w.now {
		if w.next[path] == nil {
			_ = w.Remove(path) // it may be gone with its directory
		}
	}
	w.now = w.next
	current := w.now
	w.current.Store(&current)
}

func (w *watches) shut() {
	w.closed.Store(true)
	if w.notifier != nil {
		_ = w.Close()
	}
}

// counts reports whether an event may concern the source.
func (w *watches) counts(ev fsnotify.Event) bool {
	current := w.current.Load()
	if current == nil {
		return true
	}
	i := (*current)[filepath.Dir(ev.Name)]
	return i == nil || i.all || i.bases[filepath.Base(ev.Name)]
}

// listen tells of the source at most once in each pace, and reads no more
// events in it than a person or a program with good intentions makes.
func (w *watches) listen(hints chan<- string, gone <-chan struct{}) {
	timer := time.NewTimer(pace)
	defer timer.Stop()
	timer.Stop()
	events, left := w.Events(), perPace
	wanted, told := false, false
	began := func() {
		if left == perPace && !told {
			timer.Reset(pace)
		}
	}
	for {
		var out chan<- string
		if wanted && !told {
			out = hints
		}
		select {
		case ev, open := <-events:
			if !open {
				return
			}
			began()
			if left--; left == 0 {
				events = nil
			}
			wanted = wanted || w.counts(ev)
		case _, open := <-w.Errors(): // an overflow, for one: anything may have happened
			if !open {
				return
			}
			wanted = true
		case out <- w.name:
			began()
			wanted, told = false, true
		case <-timer.C:
			events, left, told = w.Events(), perPace, false
		case <-gone:
			return
		}
	}
}
