package watch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zonebuild/internal/domain"
)

// world is what a loop sees in a test: sources whose content the test changes,
// a builder, a configuration, a calendar.
type world struct {
	t     *testing.T
	begin time.Time
	hints chan string
	hup   chan struct{}

	mu        sync.Mutex
	names     []domain.Name
	sources   []Source
	checkouts []Checkout
	concerns  func(Change) Effect
	news      map[string][]Change // by source: for its next look
	looks     []seen
	calls     []call
	alarms    []string
	beats     []beatAt
	lock      string
	skew      time.Duration // of the calendar
	refuse    error         // for the next loads
	loads     int
	config    string // the checkout of the configuration
	closed    int
	serial    int64
	unsettled int // looks that find something being written

	build  func(context.Context, Request) ([]Result, error)
	onLook func(source string)
	onLoad func() // under the lock

	hangLoad func(context.Context) // before a load
	hung     string                // what the build does for longer than anybody asks

	outdated func() bool
	log      strings.Builder
}

// Write is the log of the loop.
func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

func (w *world) logged(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.log.String(), text)
}

func (w *world) hangs(time.Duration) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hung
}

type seen struct {
	at     time.Duration
	source string
	full   bool
}

type beatAt struct {
	at time.Time
	Status
}

type call struct {
	at  time.Duration // since the test began
	req Request
}

func newWorld(t *testing.T, zones int) *world {
	w := &world{t: t, begin: time.Now(), hints: make(chan string), hup: make(chan struct{}), news: map[string][]Change{}}
	for i := range zones {
		w.names = append(w.names, domain.MustParse(fmt.Sprintf("z%03d.test", i)))
	}
	w.sources = []Source{{Name: "primary", Paths: []string{"primary"}}}
	// A file has the name of the zone that it concerns.
	w.concerns = func(c Change) Effect {
		_, base, _ := strings.Cut(c.Path, "/")
		switch base {
		case "all":
			return Effect{All: true}
		case "config":
			return Effect{Reload: true}
		}
		return Effect{Zones: []domain.Name{domain.MustParse(base)}}
	}
	w.build = func(_ context.Context, r Request) ([]Result, error) { return w.results(r, Done), nil }
	return w
}

func (w *world) results(r Request, o Outcome) []Result {
	var out []Result
	for _, z := range r.Zones {
		out = append(out, Result{Zone: z, Outcome: o})
	}
	return out
}

func (w *world) Zones() []domain.Name {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.names)
}

func (w *world) Build(ctx context.Context, r Request) ([]Result, error) {
	w.mu.Lock()
	w.calls = append(w.calls, call{time.Since(w.begin), r})
	build := w.build
	w.mu.Unlock()
	return build(ctx, r)
}

func (w *world) load(ctx context.Context) (*Setup, error) {
	w.mu.Lock()
	hang := w.hangLoad
	w.mu.Unlock()
	if hang != nil {
		hang(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loads++; w.refuse != nil {
		return nil, w.refuse
	}
	if w.onLoad != nil {
		w.onLoad()
	}
	return &Setup{
		Sources: slices.Clone(w.sources), Checkouts: slices.Clone(w.checkouts), Builder: w, Hints: w.hints,
		Look: w.look, Concerns: w.concerns, Config: w.config, Outdated: w.outdated, Hangs: w.hangs,
		Close: func() { w.mu.Lock(); w.closed++; w.mu.Unlock() },
	}, nil
}

func (w *world) look(_ context.Context, source string, full bool) Sight {
	w.mu.Lock()
	w.looks = append(w.looks, seen{time.Since(w.begin), source, full})
	on := w.onLook
	w.mu.Unlock()
	if on != nil {
		on(source)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Sight{Changes: w.news[source]}
	delete(w.news, source)
	if w.unsettled > 0 {
		w.unsettled--
		s.Unsettled = true
	}
	return s
}

// change makes a file of a source have another content; nobody is told.
func (w *world) change(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	source, _, _ := strings.Cut(path, "/")
	w.serial++
	w.news[source] = append(w.news[source], Change{Source: source, File: File{Path: path, MTime: w.serial}})
}

// touch is a change with its event.
func (w *world) touch(path string) {
	w.change(path)
	source, _, _ := strings.Cut(path, "/")
	w.hints <- source
}

func (w *world) wall() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Round(0).Add(w.skew)
}

// run starts the loop; the function ends it and gives what Run returned.
func (w *world) run() (stop func() error) {
	ctx, cancel := context.WithCancel(w.t.Context())
	l := &Loop{
		Load: w.load, Reload: w.hup, Wall: w.wall, Log: slog.New(slog.NewTextHandler(w, nil)),
		Alarm: func(a Alarm) {
			w.mu.Lock()
			defer w.mu.Unlock()
			sign := "+"
			if a.Clear {
				sign = "-"
			}
			w.alarms = append(w.alarms, strings.TrimSpace(fmt.Sprintf("%s%s %s %s", sign, a.Code, a.Subject, a.Message)))
		},
		Beat: func(s Status) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.beats) == 2000 {
				w.beats = w.beats[:0]
			}
			w.beats = append(w.beats, beatAt{time.Now(), s})
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-ended
	}
}

// after lets time pass and gives the builds of that time, as "AT ZONE ZONE".
func (w *world) after(d time.Duration) []string {
	w.t.Helper()
	w.mu.Lock()
	from, base := len(w.calls), time.Since(w.begin)
	w.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []string{}
	for _, c := range w.calls[from:] {
		line := (c.at - base).String()
		for _, z := range c.req.Zones {
			line += " " + strings.TrimSuffix(z.String(), ".test.")
		}
		for _, h := range c.req.Held {
			line += " held:" + h
		}
		for _, name := range slices.Sorted(keys(c.req.Revisions)) {
			line += " " + name + "@" + c.req.Revisions[name]
		}
		out = append(out, line)
	}
	return out
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (w *world) takeAlarms() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.alarms
	w.alarms = nil
	return out
}

// set changes the world under its lock.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func ends(t *testing.T, stop func() error) {
	t.Helper()
	if err := stop(); err != nil {
		t.Errorf("the loop ended with %v", err)
	}
}
