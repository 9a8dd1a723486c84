// Package watch keeps every zone of a tree built, signed fresh and confirmed,
// for months: eyes that find out what changed on the disk (Eyes), and a loop
// that decides when to build which zones (Loop).
//
// Events of the file system are hints; the content of the files decides. What
// no event tells (NFS, overlays, a file system mounted over a directory) is found
// by a poll that is always on.
//
// The package builds nothing, runs no program and writes no file: it calls a
// Builder and an Updater. It breaks no lock of others.
package watch

import (
	"context"
	"errors"
	"sync"
	"time"

	"zonebuild/internal/domain"
)

// Source is a part of a tree that is watched by itself: with a poll, a rate and
// a state of its own, so that a busy or a hanging one disturbs no other.
type Source struct {
	Name  string
	Paths []string // directories and files; those that are absent are waited for
	Depth int      // of directories below a directory of Paths that are read too
	Keep  func(base string) bool
	// Keep says which names in a directory count; nil: all that begin with no dot.

	Distrusted bool  // somebody else fills it: no links are followed, and small bounds hold
	MaxFiles   int   // names in all its directories; 0 = 4,096 if distrusted, else 1,048,576
	MaxSize    int64 // octets of a file that is read; 0 = 16 KiB if distrusted, else 2 GiB

	Poll     time.Duration // between two looks without a hint; 0 = 2 s if distrusted, else 10 s
	Limit    Limit         // how often it may cause builds; zero = BoxLimit if distrusted, else no limit
	Checkout string        // that it belongs to, and with which it is held back; "" = none
	Output   bool          // the builder itself writes there: it is looked at between builds only
	Mends    bool          // it is looked at also while updates of its checkout fail: it may say how to update
	Loaded   bool          // Load read it: the first look at it asks Outdated
}

// Checkout is what a version control system or a program of the operator's
// keeps up to date. While it does so, the sources in it are held back.
type Checkout struct {
	Name    string
	Locked  func() string // the lock file that stands now; "" = none; nil = there are no locks
	Updater Updater       // nil: somebody else updates it
	Every   time.Duration // between two updates
}

// Updater fetches the newest revision. It is run in a goroutine of its own,
// once at a time for each checkout, and not while a build runs.
type Updater interface {
	// Update gives the revision that is there now. After an error nothing of the
	// checkout counts until an update succeeds, unless it is an UnmovedError.
	Update(ctx context.Context) (revision string, err error)
}

// UnmovedError is why an update failed that left a whole revision in place: that counts.
type UnmovedError struct{ Cause error }

func (e *UnmovedError) Error() string { return e.Cause.Error() }

func (e *UnmovedError) Unwrap() error { return e.Cause }

// Builder takes zones from their sources to the name server.
type Builder interface {
	// Zones are all there are: those of the tree and those still published. It
	// is asked after each Load, by the loop, which waits for it.
	Zones() []domain.Name

	// Build is never called twice at a time. A zone without a Result, such as all
	// after an error, is tried again as after Failed, by itself.
	Build(ctx context.Context, r Request) ([]Result, error)
}

// Request is what a Builder is asked for.
type Request struct {
	Zones     []domain.Name     // at least one
	Held      []string          // checkouts that are being changed: what was read of them last stands
	Moving    func(string) bool // asked once something of a checkout was read: somebody has begun to change it since, and it may be half of a revision
	Revisions map[string]string // of the checkouts that are updated here, by name
}

// Outcome of building a zone, as far as the loop has to know.
type Outcome uint8

const (
	Done        Outcome = iota // published and served, or unchanged
	Unconfirmed                // published, but not seen served yet: to be asked again, soon at first
	Asked                      // published, and being asked for beside the builds: a change tells when that is known
	Held                       // the input is refused: only another input helps
	Failed                     // trying again may help
	Busy                       // passed over, another process is at work on it: to be tried again soon
)

// moving finds out which checkouts come into other hands during a build. It is asked
// by several goroutines.
type moving struct {
	asks  map[string]func() string // those that were not held when it was made
	mu    sync.Mutex
	locks map[string]string // found
}

func (m *moving) ask(name string) bool {
	locked := m.asks[name]
	if locked == nil {
		return false
	}
	lock := locked()
	m.mu.Lock()
	defer m.mu.Unlock()
	if lock != "" {
		m.locks[name] = lock
	}
	return m.locks[name] != ""
}

// found adds the locks that came during the build.
func (m *moving) found(holds map[string]hold) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, lock := range m.locks {
		holds[name] = hold{lock: lock}
	}
}

// Result is what became of a zone.
type Result struct {
	Zone    domain.Name
	Outcome Outcome
	Due     time.Time     // from when on signatures are to be made anew; zero = never
	Slice   time.Duration // for how long that can wait, so that several are made at once; 0 = an hour
	Expires time.Time     // when something ends by itself, a challenge or a step of a rollover; zero = never
	Left    []File        // that the builder wrote: they are no news
}

// File tells whether a file is still the one that was written.
type File struct {
	Path  string
	Size  int64
	MTime int64 // nanoseconds since 1970
}

// Kind of a Change.
type Kind uint8

const (
	Changed Kind = iota
	Appeared
	Vanished
)

// Change is a path of which the content, not only the time, is another.
type Change struct {
	Source string
	File   // as it is now; without size and time if it vanished
	Kind   Kind
}

// Sight is what one look at a source found.
type Sight struct {
	Changes   []Change // since the last look; at the first, all that is there
	Unsettled bool     // something is being written: look again soon
}

// Effect is what a Change means.
type Effect struct {
	Zones  []domain.Name // that it concerns
	All    bool          // it concerns every zone
	Reload bool          // the configuration, or the list of zones, is another
}

// Setup is what the loop works with until the next reload.
type Setup struct {
	Sources   []Source
	Checkouts []Checkout
	Builder   Builder
	Config    string        // the checkout that the configuration lies in: it is not loaded while that is held; "" = none
	Hints     <-chan string // names of sources in which something may have changed; nil = none
	Close     func()        // called when the setup is no longer used, a look may still run; nil = nothing to do

	// Hangs says what the running build does for so long, of what takes no time unless a
	// disk is gone; "" = nothing; nil = nobody knows. It is asked by the loop.
	Hangs func(least time.Duration) string

	// Look is called for one source at most once at a time, but for several
	// sources at once. full: everything is read again, whatever its times are.
	Look func(ctx context.Context, source string, full bool) Sight

	// Outdated reports whether Load would give another setup now, or an error. It may
	// read files, and runs in a goroutine of its own; nil = never.
	Outdated func() bool

	// Concerns is called by the loop, which waits for it: it must not read files.
	Concerns func(Change) Effect
}

// ErrMute is why a setup cannot be loaded that lies where nothing answers, possibly
// wrapped: it is tried again soon.
var ErrMute = errors.New("it does not answer: is its mount dead?")

// Codes of an Alarm.
const (
	AlarmLocked = "source-locked" // a lock of a version control system stands for long
	AlarmUpdate = "source-update" // an update failed, or somebody else changed what it left
	AlarmStuck  = "source-stuck"  // a look does not come back
	AlarmBuild  = "build-stuck"   // a build does not come back, or hangs
	AlarmReload = "reload-failed" // the new configuration is not taken
	AlarmPass   = "pass-failed"   // builds fail as a whole
)

// Alarm is raised once, once more for each other message, and cleared when its
// condition is over.
type Alarm struct {
	Code    string
	Subject string // the source or the checkout; "" = the daemon as a whole
	Message string
	Clear   bool
}

// Status is what the loop tells at each turn.
type Status struct {
	Building time.Time // since when a build runs; zero = none does
	Waiting  int       // zones that are to be built as soon as possible
	Zones    int
	NextDue  time.Time // of the zone that is built next for its signatures or an end
	Held     []string  // checkouts that are held back
	Stuck    []string  // sources that do not answer
}
