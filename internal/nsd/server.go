package nsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

// Server is an NSD on this machine. It implements publish.Server.
type Server struct {
	Control   string                   // path of the control socket
	Addresses []netip.AddrPort         // where it answers DNS
	Checkzone string                   // nsd-checkzone; "" = files are not checked
	Pattern   string                   // pattern of nsd.conf for zones that nsd does not know; "" = they are refused
	ZoneFile  func(domain.Name) string // for the stanza that a refusal shows
}

// Check runs nsd-checkzone over a staged file.
func (s *Server) Check(ctx context.Context, apex domain.Name, file string) error {
	if s.Checkzone == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, s.Checkzone, zoneName(apex), file).CombinedOutput()
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("run %s: %w (publish.checkzone = \"\" turns the check off)", s.Checkzone, err)
	}
	said := "it says nothing"
	for line := range strings.Lines(string(out)) {
		if _, text, ok := strings.Cut(line, "error: "); ok {
			said = diag.Escape(strings.TrimSpace(text))
			break
		}
	}
	return fmt.Errorf("%s refuses the zone: %s", s.Checkzone, said)
}

// zoneName is the form in which nsd.conf names zones.
func zoneName(apex domain.Name) string {
	if apex == domain.Root {
		return "."
	}
	return strings.TrimSuffix(apex.String(), ".")
}

// Serial asks what is served.
func (s *Server) Serial(ctx context.Context, apex domain.Name) (publish.Served, error) {
	return publish.AskAll(ctx, s.Addresses, apex)
}

// Reload makes nsd read what changed: one zone by name; many by one reload,
// for which nsd looks at the modification times of all its files. Zones that
// nsd does not know are added with the pattern, or refused with the stanza
// that nsd.conf needs.
func (s *Server) Reload(ctx context.Context, apexes []domain.Name) map[domain.Name]error {
	refused := map[domain.Name]error{}
	refuseAll := func(err error) map[domain.Name]error {
		for _, a := range apexes {
			refused[a] = err
		}
		return refused
	}
	if len(apexes) == 1 {
		_, err := s.command(ctx, "reload "+zoneName(apexes[0]))
		if notConfigured(err) {
			s.addZones(ctx, apexes, refused)
			return refused
		}
		if err != nil {
			return refuseAll(err)
		}
		return nil
	}
	unknown, err := s.unknown(ctx, apexes)
	if err != nil {
		return refuseAll(err)
	}
	if len(unknown) > 0 {
		s.addZones(ctx, unknown, refused)
	}
	if _, err := s.command(ctx, "reload"); err != nil {
		return refuseAll(err)
	}
	return refused
}

// unknown are the zones that nsd does not have.
func (s *Server) unknown(ctx context.Context, apexes []domain.Name) ([]domain.Name, error) {
	var out []domain.Name
	for _, a := range apexes {
		_, err := s.command(ctx, "zonestatus "+zoneName(a))
		var reply *replyError
		switch {
		case err == nil:
		case errors.As(err, &reply):
			out = append(out, a)
		default:
			return nil, err
		}
	}
	return out, nil
}

func (s *Server) addZones(ctx context.Context, apexes []domain.Name, refused map[domain.Name]error) {
	if s.Pattern == "" {
		for _, a := range apexes {
			refused[a] = fmt.Errorf("nsd does not know the zone: set publish.pattern, or add to nsd.conf:\nzone:\n  name: %q\n  zonefile: %q", zoneName(a), s.ZoneFile(a))
		}
		return
	}
	for _, a := range apexes {
		if _, err := s.command(ctx, "addzone "+zoneName(a)+" "+s.Pattern); err != nil {
			refused[a] = err
		}
	}
}

// DelZone makes nsd forget a zone that addzone gave it. A zone that nsd does
// not have is no error.
func (s *Server) DelZone(ctx context.Context, apex domain.Name) error {
	_, err := s.command(ctx, "delzone "+zoneName(apex))
	return err
}
