package build

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"zonebuild/internal/domain"
)

// ear reads a source that may never answer, such as a mount whose server is gone: in
// goroutines that are given up when it takes too long. From then on nothing is read of
// the source until they have come back, and what is known of it stands. A nil ear reads
// at once, and waits for as long as it takes: that is what a command does.
//
// Whoever makes a mount slow, or has it answer now and then, makes others wait for a
// quarter of the time at most: behind a reading that was given up it rests.
type ear struct {
	mu      sync.Mutex
	late    int                  // readings that nobody waits for any more
	rest    time.Duration        // until then, by the clock, none begins
	rests   bool                 // rested is called then
	without int                  // readings so far that were given up, or not begun
	missed  map[domain.Name]bool // zones that were built without
	clock   func() time.Duration // a running one; nil = it has no rest, and a reading of many steps no bound
	wake    func(domain.Name)    // told of them when the source answers again; nil = nobody is
	mute    bool                 // it was given up, and was not heard again
	told    func(mute bool)      // told when that begins and ends; nil = nobody is; it must not wait
}

// Bounds of hearing.
const (
	hearPatience = 5 * time.Second  // for the system to open a source, or to read of it
	hearMost     = 15 * time.Second // for a reading of many steps
	hearRest     = 3                // times as long as it was waited for in vain
)

// errMute is why a source is not read.
var errMute = errors.New("it does not answer: is its mount dead?")

// hear reads by an ear. What comes too late is given to gone, if there is one. Errors:
// errMute, and those of read.
func hear[T any](e *ear, read func() (T, error), gone func(T)) (out T, err error) {
	return hearSteps(e, func(func()) (T, error) { return read() }, gone)
}

// hearSteps is hear of a reading that calls the system many times: it calls step behind
// each, and patience begins anew then, up to a bound.
func hearSteps[T any](e *ear, read func(step func()) (T, error), gone func(T)) (out T, err error) {
	if e == nil {
		return read(func() {})
	}
	if !e.listens() {
		e.mu.Lock()
		e.without++
		e.mu.Unlock()
		return out, errMute
	}
	return attempt(e, read, gone)
}

// listens reports whether a reading may begin.
func (e *ear) listens() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.late == 0 && e.now() >= e.rest
}

// attempt reads, and gives that up when it takes too long.
func attempt[T any](e *ear, read func(step func()) (T, error), gone func(T)) (out T, err error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	givenUp := false // under mu
	var steps atomic.Int64
	begun := e.now()
	go func() {
		v, err := read(func() { steps.Add(1) })
		e.mu.Lock()
		late := givenUp
		if !late {
			done <- answer{v, err}
		}
		e.mu.Unlock()
		if late {
			if err == nil && gone != nil {
				gone(v)
			}
			e.back()
		}
	}()
	timer := time.NewTimer(hearPatience)
	defer timer.Stop()
	for goesOn, last := true, int64(0); goesOn; {
		select {
		case a := <-done:
			return a.v, a.err
		case <-timer.C:
		}
		n := steps.Load()
		goesOn, last = n > last && e.now()-begun < hearMost, n
		timer.Reset(hearPatience)
	}
	e.mu.Lock()
	select {
	case a := <-done:
		e.mu.Unlock()
		return a.v, a.err
	default:
	}
	givenUp = true
	e.late++
	e.without++
	e.rest = max(e.rest, e.now()+hearRest*(e.now()-begun))
	news := !e.mute
	e.mute = true
	e.mu.Unlock()
	if news && e.told != nil {
		e.told(true)
	}
	return out, errMute
}

// back is called when a reading that was given up has come back.
func (e *ear) back() {
	e.mu.Lock()
	e.late--
	e.mu.Unlock()
	e.miss(nil)
}

// miss notes zones that were built without the source, and has all of them woken once
// it answers and has rested.
func (e *ear) miss(zones []domain.Name) {
	e.mu.Lock()
	if e.missed == nil {
		e.missed = map[domain.Name]bool{}
	}
	for _, apex := range zones {
		e.missed[apex] = true
	}
	var woken []domain.Name
	rest, news := e.rest-e.now(), false
	switch {
	case e.late > 0:
	case rest > 0 && !e.rests:
		e.rests = true
		time.AfterFunc(rest, e.rested)
	case rest <= 0:
		for apex := range e.missed {
			woken = append(woken, apex)
		}
		clear(e.missed)
		e.mute, news = false, e.mute
	}
	wake := e.wake
	e.mu.Unlock()
	if news && e.told != nil {
		e.told(false)
	}
	for _, apex := range woken {
		if wake != nil {
			wake(apex)
		}
	}
}

// now reads the running clock; without one, no time passes.
func (e *ear) now() time.Duration {
	if e.clock == nil {
		return 0
	}
	return e.clock()
}

func (e *ear) rested() {
	e.mu.Lock()
	e.rests = false
	e.mu.Unlock()
	e.miss(nil)
}

// deaf is how many readings were done without, so far.
func (e *ear) deaf() int {
	if e == nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.without
}

// ear gives the one for a source, by its path, for all passes; nil without a Beside.
func (b *Beside) ear(source string) *ear {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ears == nil {
		b.ears = map[string]*ear{}
	}
	e := b.ears[source]
	if e == nil {
		e = &ear{wake: b.Wake, clock: b.Clock}
		if b.Mute != nil {
			e.told = func(mute bool) { b.Mute(source, mute) }
		}
		b.ears[source] = e
	}
	return e
}

// listen notes what was not heard so far; the function it gives notes, for all sources of
// which something was not heard since, that zones were built without.
func (b *Beside) listen() (over func(zones []domain.Name)) {
	if b == nil {
		return func([]domain.Name) {}
	}
	counts := func() map[*ear]int {
		b.mu.Lock()
		defer b.mu.Unlock()
		out := map[*ear]int{}
		for _, e := range b.ears {
			out[e] = e.deaf()
		}
		return out
	}
	before := counts()
	return func(zones []domain.Name) {
		for e, n := range counts() {
			if n != before[e] {
				e.miss(zones)
			}
		}
	}
}

// heardFile is a file that is read by an ear.
type heardFile struct {
	ear  *ear
	file fs.File
	info fs.FileInfo
}

// hearFile opens a file by an ear.
func hearFile(e *ear, open func() (fs.File, error)) (fs.File, error) {
	if e == nil {
		return open()
	}
	f, err := hear(e, func() (*heardFile, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		return &heardFile{e, f, info}, nil
	}, func(f *heardFile) { f.Close() })
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Stat tells of the file as it was when it was opened.
func (f *heardFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Read reads. After an error b may still be written to, for as long as the source hangs.
func (f *heardFile) Read(b []byte) (int, error) {
	return hear(f.ear, func() (int, error) { return f.file.Read(b) }, nil)
}

// Close closes the file; one that is being read is closed behind that. That may hang, too.
func (f *heardFile) Close() error {
	closing := func(func()) (any, error) { return nil, f.file.Close() }
	if !f.ear.listens() { // no other is opened meanwhile
		go func() { _, _ = closing(nil) }()
		return errMute
	}
	_, err := attempt(f.ear, closing, nil)
	return err
}

// isDir reports whether there is a directory, and whether there is anything; both of
// one that does not answer, since that is a mount.
func isDir(e *ear, path string) (dir, there bool) {
	info, err := hear(e, func() (fs.FileInfo, error) { return os.Stat(path) }, nil)
	switch {
	case errors.Is(err, errMute):
		return true, true
	case err != nil:
		return false, false
	}
	return info.IsDir(), true
}

// listen has a pass read its sources by ears, or without any.
func (t *Tree) listen(b *Beside) {
	t.beside = b
	t.files.ear = b.ear("tree " + t.Config.Tree)
}
