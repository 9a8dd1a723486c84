package nsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

// Server is an NSD on this machine. It implements publish.Server. Use it by
// pointer; its methods are safe for concurrent use.
type Server struct {
	Control   string                   // path of the control socket
	Addresses []netip.AddrPort         // where it answers DNS; none = 127.0.0.1:53
	Checkzone string                   // nsd-checkzone; "" = files are not checked
	Pattern   string                   // pattern of nsd.conf for zones that nsd does not know; "" = they are refused
	Timeout   time.Duration            // of one exchange with the control socket; 0 = 30 seconds, and never more
	ZoneFile  func(domain.Name) string // where a zone's file is, for the stanza that a refusal shows

	before publish.Before
}

// Numbers of zones.
const (
	addAtOnce = 200 // in one addzones: nsd does nothing else meanwhile
	askSingly = 16  // up to which zones are asked for one by one
)

// Serial asks what is served. Errors: see publish.Server.
func (s *Server) Serial(ctx context.Context, apex domain.Name) (publish.Served, error) {
	addresses := s.Addresses
	if len(addresses) == 0 {
		addresses = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	served, err := publish.AskAll(ctx, addresses, apex)
	served.WasServed = s.before.Was(apex)
	return served, err
}

// Reload makes nsd read what changed: one zone by name; many by one reload, for
// which nsd looks at the modification times of all its files. Zones that nsd
// does not know are added with the pattern, or refused with the stanza that
// nsd.conf needs. It returns the zones that were refused.
func (s *Server) Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error {
	if len(apexes) == 0 {
		return nil
	}
	s.before.Note(ctx, apexes, s.Serial)
	if len(apexes) == 1 {
		err := s.command(ctx, "reload "+zoneName(apexes[0]), nil, nil)
		if notConfigured(err) {
			return s.add(ctx, apexes)
		}
		return all(apexes, err)
	}
	unknown, err := s.unknown(ctx, apexes)
	if err != nil {
		return all(apexes, err)
	}
	refused := s.add(ctx, unknown)
	if len(refused) == len(apexes) {
		return refused
	}
	if err := s.command(ctx, "reload", nil, nil); err != nil {
		return all(apexes, err)
	}
	return refused
}

// all gives every zone the same error; none without one.
func all(apexes []domain.Name, err error) map[domain.Name]error {
	if err == nil {
		return nil
	}
	refused := make(map[domain.Name]error, len(apexes))
	for _, a := range apexes {
		refused[a] = err
	}
	return refused
}

// unknown are the zones that nsd does not have. A few are asked for by name;
// for many, the list of all that nsd has is shorter.
func (s *Server) unknown(ctx context.Context, apexes []domain.Name) ([]domain.Name, error) {
	var out []domain.Name
	if len(apexes) <= askSingly {
		for _, a := range apexes {
			switch err := s.command(ctx, "zonestatus "+zoneName(a), nil, nil); {
			case notConfigured(err):
				out = append(out, a)
			case err != nil:
				return nil, err
			}
		}
		return out, nil
	}
	known := map[domain.Name]bool{}
	err := s.command(ctx, "zonestatus", nil, func(line string) {
		if name, ok := strings.CutPrefix(line, "zone:"); ok {
			if apex, err := domain.Parse(strings.TrimSpace(name)); err == nil {
				known[apex] = true
			}
		}
	})
	if err != nil && !errors.Is(err, errSilent) { // an nsd without zones lists none
		return nil, err
	}
	for _, a := range apexes {
		if !known[a] {
			out = append(out, a)
		}
	}
	return out, nil
}

// add makes nsd know zones, in batches. Adding a zone twice does no harm.
func (s *Server) add(ctx context.Context, apexes []domain.Name) map[domain.Name]error {
	refused := map[domain.Name]error{}
	if s.Pattern == "" {
		for _, a := range apexes {
			refused[a] = s.unknownZone(a)
		}
		return refused
	}
	for len(apexes) > 0 {
		n := min(addAtOnce, len(apexes))
		s.addBatch(ctx, apexes[:n], refused)
		apexes = apexes[n:]
	}
	return refused
}

// addBatch reads for each line either "added: ZONE" or a reason, "error ...",
// and then "error for input line 'ZONE'".
func (s *Server) addBatch(ctx context.Context, apexes []domain.Name, refused map[domain.Name]error) {
	lines := make([]string, len(apexes))
	missing := make(map[domain.Name]bool, len(apexes))
	for i, a := range apexes {
		lines[i] = zoneName(a) + " " + s.Pattern
		missing[a] = true
	}
	reason := "no answer for this zone"
	err := s.command(ctx, "addzones", lines, func(line string) {
		if name, ok := strings.CutPrefix(line, "added: "); ok {
			if apex, err := domain.Parse(name); err == nil {
				delete(missing, apex)
			}
		} else if name, ok := strings.CutPrefix(line, "error for input line '"); ok {
			if apex, err := domain.Parse(strings.TrimSuffix(name, "'")); err == nil && missing[apex] {
				delete(missing, apex)
				refused[apex] = fmt.Errorf("add zone to nsd: %s", diag.Escape(reason))
			}
		} else if text, ok := strings.CutPrefix(line, "error "); ok {
			reason = text
		}
	})
	for a := range missing {
		if err != nil {
			refused[a] = err
		} else {
			refused[a] = fmt.Errorf("add zone to nsd: %s", diag.Escape(reason))
		}
	}
}

// unknownZone says what nsd.conf needs.
func (s *Server) unknownZone(apex domain.Name) error {
	file := apex.FileName()
	if s.ZoneFile != nil {
		file = s.ZoneFile(apex)
	}
	hint := ""
	if m := expanded(file); m != "" {
		hint = fmt.Sprintf("\n(nsd replaces %s in a zonefile: make a symbolic link of another name to the file, and name that)", m)
	}
	return fmt.Errorf("nsd does not know the zone: set publish.pattern, or add to nsd.conf, and run nsd-control reconfig:\nzone:\n\tname: %q\n\tzonefile: %q%s", zoneName(apex), file, hint)
}

// expanded is the first part of a path that nsd takes for a part of the zone's
// name. There is no way to write it otherwise (nsd.conf(5), zonefile).
func expanded(path string) string { return regexp.MustCompile(`%[123xyzs]`).FindString(path) }

// DelZone makes nsd forget a zone that addzone gave it, and its file is no
// longer read. A zone that nsd does not have is no error; one of nsd.conf is,
// with nsd's words.
func (s *Server) DelZone(ctx context.Context, apex domain.Name) error {
	return s.command(ctx, "delzone "+zoneName(apex), nil, nil)
}

// zoneName is the form in which nsd.conf names zones.
func zoneName(apex domain.Name) string {
	if apex == domain.Root {
		return "."
	}
	return strings.TrimSuffix(apex.String(), ".")
}
