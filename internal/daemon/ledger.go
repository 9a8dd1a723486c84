package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

type zoneName = domain.Name

// zoneFacts is what is known of a zone.
type zoneFacts struct {
	action    string
	serial    uint32 // published
	confirmed bool
	elsewhere bool      // signed by others, with serials of their own
	good      time.Time // when it was last built without a fault, a refusal or a failure
	published time.Time
	due       time.Time
	oldest    time.Time // expiration
	alarms    []build.Alarm
	tlsa      []build.TLSAAfter
	served    []reply // what each server said last; only in what facts gives
}

// reply is what one server said of a zone. It is never changed.
type reply struct {
	server string // its address, or the program that asks it
	serial uint32
	up     bool // it answered
}

// ledger is what the pages tell. It is filled by passes and looks.
type ledger struct {
	mu      sync.Mutex
	zones   map[zoneName]zoneFacts
	replies map[zoneName][]reply // sorted by the server
	asked   bool                 // there is somebody to ask for serials
	refused map[string]int       // files of drop boxes that are left out now, by code
	stages  map[string]*stage
	passes  map[string]uint64 // zones built, by action
	pass1   time.Time         // the last pass
}

// stage is the time that one kind of work took.
type stage struct {
	count uint64
	sum   time.Duration
}

// keep forgets zones that are gone, and what servers said that may not be the same now.
func (l *ledger) keep(known map[zoneName]bool, sameServers, asked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.zones, func(n zoneName, _ zoneFacts) bool { return !known[n] })
	maps.DeleteFunc(l.replies, func(n zoneName, _ []reply) bool { return !known[n] || !sameServers })
	l.asked = asked
}

// facts are those of a zone, under mu. Of one that others sign, serials tell nothing.
func (l *ledger) facts(n zoneName) *zoneFacts {
	f := l.zones[n]
	if !f.elsewhere {
		f.served = l.replies[n]
	}
	return &f
}

func (l *ledger) zone(n zoneName) (zoneFacts, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.zones[n]
	return f, ok
}

// pass takes the report of a pass.
func (l *ledger) pass(r *build.Report, begun, now time.Time) {
	l.addStage("pass", now.Sub(begun))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pass1 = now
	l.refused = map[string]int{}
	for _, f := range r.Boxes {
		l.refused[f.Code]++
	}
	if l.passes == nil {
		l.passes = map[string]uint64{}
	}
	for i := range r.Zones {
		z := &r.Zones[i]
		l.passes[z.Action]++
		f := l.zones[z.Zone]
		f.action = z.Action
		if z.Action != build.Busy { // else what stands, stands
			f.alarms, f.tlsa = z.After.Alarms, z.After.TLSA
		}
		if z.After.Files != nil { // else the zone was in other hands
			f.elsewhere = z.After.Elsewhere
			f.serial, f.confirmed, f.published, f.due, f.oldest = z.After.Serial, z.After.Confirmed, z.After.Published, z.After.Due, z.After.Oldest
		}
		if z.Code == 0 && z.Action != build.Waiting {
			f.good = now
		}
		l.zones[z.Zone] = f
	}
}

// heard notes what a server answered; not when the asking was given up for another
// reason than its silence.
func (l *ledger) heard(ctx context.Context, n zoneName, s publish.Served, err error) {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	is := reply{s.Server, s.Serial, err == nil}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replies == nil {
		l.replies = map[zoneName][]reply{}
	}
	list := slices.Clone(l.replies[n]) // somebody may be reading
	i, known := slices.BinarySearchFunc(list, is.server, func(r reply, server string) int { return strings.Compare(r.server, server) })
	if known {
		list[i] = is
	} else {
		list = slices.Insert(list, i, is)
	}
	l.replies[n] = list
}

// stage notes the time since begun.
func (l *ledger) stage(name string, begun time.Time) { l.addStage(name, time.Since(begun)) }

func (l *ledger) addStage(name string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stages == nil {
		l.stages = map[string]*stage{}
	}
	s := l.stages[name]
	if s == nil {
		s = &stage{}
		l.stages[name] = s
	}
	s.count++
	s.sum += max(took, 0)
}

func (l *ledger) names() []zoneName {
	return slices.SortedFunc(maps.Keys(l.zones), domain.Name.Compare)
}
