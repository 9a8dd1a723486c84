package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
	"zonebuild/internal/watch"
)

// Bounds of the daemon's own looks.
const (
	outPoll    = 10 * time.Second // at published files
	servedPoll = time.Minute      // at what the server serves
	askWait    = 3 * time.Second  // for one answer
	surveyWait = 20 * time.Second // for all; the others have their turn in the next look
	askers     = 8
	silences   = 2 // looks in a row without an answer that are no restart
)

// ownSources are those at which the daemon looks itself.
func (s *site) ownSources() []watch.Source {
	return []watch.Source{
		{Name: sourceOut, Poll: outPoll, Output: true},
		{Name: sourceServed, Poll: servedPoll, Output: true},
		{Name: sourceLooked, Poll: servedPoll},
	}
}

// lookPublished finds files that another hand changed: by stat, since reading is
// what the next build does.
func (s *site) lookPublished() (sight watch.Sight) {
	s.mu.Lock()
	files := maps.Clone(s.files)
	s.mu.Unlock() // the loop must not wait for a disk
	for apex := range s.known {
		name := apex.FileName()
		was, ok := files[name]
		if !ok {
			continue
		}
		is := build.FileID{}
		if info, err := os.Stat(s.tree.PublishedPath(apex)); err == nil {
			is = build.FileID{Size: info.Size(), MTime: info.ModTime().UnixNano()}
		}
		if is != was && s.noteFile(name, was, is) {
			sight.Changes = append(sight.Changes, watch.Change{Source: sourceOut, File: watch.File{Path: sourceOut + "/" + name, Size: is.Size, MTime: is.MTime}})
		}
	}
	return sight
}

// noteFile takes what a published file is now, unless a pass has left another since.
func (s *site) noteFile(name string, was, is build.FileID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[name] != was {
		return false
	}
	s.files[name] = is
	return true
}

// survey is what the looks at the server remember.
type survey struct {
	next   int                 // zone to begin with
	silent map[domain.Name]int // looks in a row without an answer
	last   time.Time
}

// lookServed asks the server for zones that were confirmed, and doubts those that
// it does not serve as they are published: a server may restart with an old file,
// or lose a zone.
func (s *site) lookServed(ctx context.Context) (sight watch.Sight) {
	zones := s.Zones()
	s.mu.Lock()
	at := &s.survey
	if time.Since(at.last) < servedPoll/2 || len(zones) == 0 { // the second look of a pair
		s.mu.Unlock()
		return sight
	}
	if at.silent == nil {
		at.silent = map[domain.Name]int{}
	}
	at.last = time.Now()
	begin := at.next % len(zones)
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var doubted []domain.Name
	places := make(chan struct{}, askers)
	asked := 0
	for ; asked < len(zones) && ctx.Err() == nil; asked++ {
		apex := zones[(begin+asked)%len(zones)]
		fact, ok := s.ledger.zone(apex)
		if !ok || !fact.confirmed || fact.elsewhere {
			continue // a build asks
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if s.doubts(ctx, apex, fact.serial) {
				mu.Lock()
				defer mu.Unlock()
				doubted = append(doubted, apex)
			}
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	at.next = begin + asked
	for _, apex := range doubted {
		s.doubt[apex] = true
		sight.Changes = append(sight.Changes, watch.Change{Source: sourceServed, File: watch.File{Path: sourceServed + "/" + apex.FileName(), MTime: time.Now().UnixNano()}})
	}
	return sight
}

// servers are the addresses that are asked for serials, of the configuration; none
// where a program of the operator's asks, or there is nobody to ask.
func (s *site) servers() (out []netip.AddrPort) {
	p := &s.tree.Config.Publish
	list := p.Address
	switch {
	case p.Server == config.ServerNone:
		list = p.Confirm
	case p.Server == config.ServerCommand && p.ConfirmCommand != nil:
		return nil
	case p.Server == config.ServerNSD && len(list) == 0:
		list = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	for _, a := range list {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// isAsked reports whether there is somebody to ask for serials.
func (s *site) isAsked() bool {
	p := &s.tree.Config.Publish
	return len(s.servers()) > 0 || p.Server == config.ServerCommand && p.ConfirmCommand != nil
}

// ask asks each server by itself, and notes what it says. The answer is that of
// publish.Server.Serial.
func (s *site) ask(ctx context.Context, apex domain.Name) (publish.Served, error) {
	servers := s.servers()
	if len(servers) == 0 {
		return s.server.Serial(ctx, apex)
	}
	errs, all := make([]error, len(servers)), make([]publish.Served, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() {
			all[i], errs[i] = publish.QuerySOA(ctx, server, apex)
			s.ledger.heard(ctx, apex, all[i], errs[i])
		})
	}
	wg.Wait()
	worst := 0
	for i, err := range errs {
		switch w := errs[worst]; {
		case err != nil && (w == nil || errors.Is(w, publish.ErrUnreachable) && !errors.Is(err, publish.ErrUnreachable)):
			worst = i // one that answers wrongly tells more than one that is silent
		case err == nil && w == nil && int32(all[worst].Serial-all[i].Serial) > 0:
			worst = i
		}
	}
	return all[worst], errs[worst]
}

// doubts asks for the serial of a zone.
func (s *site) doubts(ctx context.Context, apex domain.Name, published uint32) bool {
	ask, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	served, err := s.ask(ask, apex)
	if errors.Is(err, publish.ErrNoServer) || ctx.Err() != nil { // our own time is up
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &s.survey
	if err == nil || !errors.Is(err, publish.ErrUnreachable) {
		delete(n.silent, apex)
		return err != nil || int32(published-served.Serial) > 0 // behind, in the order of RFC 1982
	}
	n.silent[apex]++
	return n.silent[apex] >= silences
}
