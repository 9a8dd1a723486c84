package config

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"zonebuild/internal/domain"
)

// Service is [service.NAME]: where a certificate is served.
type Service struct {
	Name     string
	Host     domain.Name
	Port     int
	Proto    string // "tcp", "udp" or "sctp"
	TLSA     bool   // it has TLSA records
	Probe    []netip.AddrPort
	ProbeOff bool
	StartTLS string // "" = by port
	SNI      domain.Name
	Cert     string   // PEM file that it should serve, ready to use; "" = of its line
	PidFile  string   // ready to use
	Files    []string // beside Cert, ready to use
	Lists    []string // program that prints more of these, one a line; none = no more
	Reload   []string
	Timeout  time.Duration
}

// loadService reads one [service.NAME].
func (l *loader) loadService(h *Hook, name string, e *entry) {
	s := Service{Name: name, Proto: "tcp", TLSA: true, Timeout: time.Minute}
	l.read(e.val.table, "service."+name, serviceKeys(&s))
	for _, must := range []string{"host", "port"} {
		if e.val.table.find(must) == nil {
			l.errorf(e.at, "config-value", "service %s: %s is missing", name, must)
		}
	}
	for i, a := range s.Probe {
		if a.Port() == 0 {
			s.Probe[i] = netip.AddrPortFrom(a.Addr(), uint16(s.Port))
		}
	}
	if s.Proto != "tcp" {
		s.ProbeOff = true // TLS over TCP is all that can be asked
	}
	l.place(&s.Cert, &s.PidFile)
	l.placePrograms(s.Reload, s.Lists)
	for i := range s.Files {
		l.place(&s.Files[i])
	}
	h.Services = append(h.Services, s)
}

func serviceKeys(s *Service) []key {
	return []key{
		{"host", oneName(&s.Host)},
		{"port", number(&s.Port, 1, 65535)},
		{"proto", oneOf(&s.Proto, "tcp", "udp", "sctp")},
		{"tlsa", boolean(&s.TLSA)},
		{"probe", func(v value) error {
			if word, err := v.str(); err == nil && word == "none" {
				s.ProbeOff = true
				return nil
			}
			if err := addressesOr(&s.Probe, 0)(v); err != nil {
				return errors.New(`must be "none" or a list of addresses such as "192.0.2.1:443"`)
			}
			return nil
		}},
		{"starttls", oneOf(&s.StartTLS, "none", "smtp", "lmtp", "imap", "pop3", "xmpp-client", "xmpp-server", "ldap", "ftp", "sieve", "postgres", "nntp")},
		{"sni", oneName(&s.SNI)},
		{"certificate", localPath(&s.Cert)},
		{"files", list(&s.Files, checkPath)},
		{"files-from", argv(&s.Lists)},
		{"pid-file", localPath(&s.PidFile)},
		{"reload", argv(&s.Reload)},
		{"timeout", duration(&s.Timeout, time.Second, time.Hour)},
	}
}

func oneName(to *domain.Name) func(value) error {
	return func(v value) error {
		s, err := v.str()
		if err != nil {
			return err
		}
		n, err := domain.Parse(s)
		if err == nil {
			*to = n
		}
		return err
	}
}

// ServicesOf are the services of a line.
func (h *Hook) ServicesOf(n Line) (out []Service) {
	for _, s := range h.Services {
		if slices.Contains(n.Services, s.Name) {
			out = append(out, s)
		}
	}
	return out
}

// Service is the service of a name.
func (h *Hook) Service(name string) (Service, bool) {
	i := slices.IndexFunc(h.Services, func(s Service) bool { return s.Name == name })
	if i < 0 {
		return Service{}, false
	}
	return h.Services[i], true
}
