package watch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Bounds of a source that does not set its own.
const (
	boxFiles   = 4096
	boxSize    = 16 << 10
	treeFiles  = 1 << 20
	treeSize   = 2 << 30
	kqueueDir  = 256             // names in a directory that is watched where each costs a descriptor
	sameTick   = 2 * time.Second // within which a second change may leave the times of a file as they are
	maxAnchors = 40              // symbolic links in a path, as in Linux
	closeWait  = time.Second     // for the end of events, which takes no time unless a mount is dead
)

// Eyes find out what changed in sources: by events, and by looking.
type Eyes struct {
	hints chan string
	gone  chan struct{}
	eyes  map[string]*eye
	wg    sync.WaitGroup
	close sync.Once
}

// eyesOptions are what tests set.
type eyesOptions struct {
	newNotifier func() (notifier, error) // nil: there are no events
	kqueue      bool                     // a watch costs a descriptor for each file of the directory
}

// Open opens eyes on sources, each of which has a name of its own. It does not
// look yet. Where the system has no watches left, they poll only, and say so once.
func Open(sources []Source, log *slog.Logger) (*Eyes, error) {
	return open(sources, log, eyesOptions{newNotify, runtime.GOOS != "linux"})
}

// OpenPolling opens eyes that only look, where events are of no use.
func OpenPolling(sources []Source, log *slog.Logger) (*Eyes, error) {
	return open(sources, log, eyesOptions{})
}

func open(sources []Source, log *slog.Logger, o eyesOptions) (*Eyes, error) {
	e := &Eyes{hints: make(chan string), gone: make(chan struct{}), eyes: map[string]*eye{}}
	var once sync.Once
	warn := func(err error) {
		once.Do(func() { log.Warn("watch the sources by polling only", "err", err) })
	}
	for _, s := range sources {
		if e.eyes[s.Name] != nil {
			e.Close()
			return nil, fmt.Errorf("watch %s: there are two sources of that name", s.Name)
		}
		paths, err := absolute(s.Paths)
		if err != nil {
			e.Close()
			return nil, fmt.Errorf("watch %s: %w", s.Name, err)
		}
		one := &eye{Source: s, paths: paths, known: map[string]known{}, watch: watches{name: s.Name, warn: warn, kqueue: o.kqueue}}
		one.MaxFiles, one.MaxSize = one.bounds()
		e.eyes[s.Name] = one
		if o.newNotifier == nil || o.kqueue && s.Distrusted {
			continue // its files would take our descriptors
		}
		n, err := o.newNotifier()
		if err != nil {
			warn(err)
			continue
		}
		one.watch.notifier = n
		e.wg.Go(func() { one.watch.listen(e.hints, e.gone) })
	}
	return e, nil
}

// bounds are those of the source or what holds without.
func (s *Source) bounds() (files int, size int64) {
	files, size = s.MaxFiles, s.MaxSize
	if files <= 0 {
		if files = treeFiles; s.Distrusted {
			files = boxFiles
		}
	}
	if size <= 0 {
		if size = treeSize; s.Distrusted {
			size = boxSize
		}
	}
	return files, size
}

func absolute(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		out = append(out, abs)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Hints are names of sources in which something may have changed. A source is
// named at most once in 5 ms, however much happens in it.
func (e *Eyes) Hints() <-chan string { return e.hints }

// Follow sets the paths of a source anew, such as files that fragments include.
// It holds from the next look on, and does not wait for one that hangs.
func (e *Eyes) Follow(source string, paths []string) error {
	one := e.eyes[source]
	if one == nil {
		return fmt.Errorf("follow %s: there is no such source", source)
	}
	paths, err := absolute(paths)
	if err != nil {
		return fmt.Errorf("follow %s: %w", source, err)
	}
	one.nextMu.Lock()
	defer one.nextMu.Unlock()
	one.next = paths
	return nil
}

// Close ends the watching. A look that runs goes on to its end; where it hangs, so may
// the end of its events, which is not waited for.
func (e *Eyes) Close() {
	e.close.Do(func() {
		close(e.gone)
		for _, one := range e.eyes {
			e.wg.Go(one.watch.shut)
		}
		closed := make(chan struct{})
		go func() {
			e.wg.Wait()
			close(closed)
		}()
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-closed:
		case <-timer.C:
		}
	})
}

// Look compares a source with what it was at the last look. It opens nothing but
// directories and regular files, waits for no writer, and reads each file that
// may be another; with full, every file. A directory that cannot be listed, or
// has too many names, is a change of that directory's path, and what it held
// stays as it was.
func (e *Eyes) Look(ctx context.Context, source string, full bool) Sight {
	one := e.eyes[source]
	if one == nil {
		return Sight{}
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.look(ctx, full)
}

// eye is the watching of one source.
type eye struct {
	Source
	mu    sync.Mutex
	paths []string
	known map[string]known
	watch watches

	nextMu sync.Mutex
	next   []string // paths from the next look on; nil = as they are
}

// keeps reports whether a name in a directory counts.
func (e *eye) keeps(base string) bool {
	if e.Keep != nil {
		return e.Keep(base)
	}
	return base[0] != '.'
}

func (e *eye) look(ctx context.Context, full bool) Sight {
	e.nextMu.Lock()
	if e.next != nil {
		e.paths, e.next = e.next, nil
	}
	e.nextMu.Unlock()
	w := &walk{eye: e, ctx: ctx, full: full, now: time.Now(), seen: map[string]bool{}}
	e.watch.begin(full)
	for _, path := range e.paths {
		w.root(path)
	}
	w.vanish()
	if ctx.Err() == nil {
		e.watch.end()
	}
	slices.SortFunc(w.sight.Changes, func(a, b Change) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return w.sight
}

// isUnder reports whether a path is a directory's or below it.
func isUnder(path, dir string) bool {
	return path == dir || len(path) > len(dir) && path[:len(dir)] == dir && (path[len(dir)] == os.PathSeparator || dir == "/")
}
