package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (l *loader) publishSetter(key string) func(value) error {
	p := &l.Publish
	switch key {
	case "server":
		return func(v value) error {
			s, err := v.str()
			words := []string{ServerNone, ServerNSD, ServerCommand}
			if err != nil || !slices.Contains(words, s) {
				return fmt.Errorf("must be one of %q", words)
			}
			p.Server = s
			return nil
		}
	case "control":
		return text(&p.Control)
	case "checkzone":
		return func(v value) (err error) {
			p.Checkzone, err = v.str() // empty: do not check
			return err
		}
	case "pattern":
		return text(&p.Pattern)
	case "address":
		return addresses(&p.Address)
	case "confirm":
		return addresses(&p.Confirm)
	case "timeout":
		return func(v value) error {
			d, err := durationOf(v)
			if err == nil && (d < time.Second || d > time.Hour) {
				err = errors.New("must be from 1s to 1h")
			}
			p.Timeout = d
			return err
		}
	case "check":
		return argv(&p.Check)
	case "reload":
		return argv(&p.Reload)
	case "confirm-command":
		return argv(&p.ConfirmCommand)
	}
	return nil
}

// checkPublish refuses keys that the chosen server has no use for: they would
// be believed in and do nothing.
func (l *loader) checkPublish(sections []section) {
	fits := map[string][]string{
		"control": {ServerNSD}, "checkzone": {ServerNSD}, "pattern": {ServerNSD},
		"address": {ServerNSD, ServerCommand}, "confirm": {ServerNone},
		"check": {ServerCommand}, "reload": {ServerCommand}, "confirm-command": {ServerCommand},
	}
	server := l.Publish.Server
	for _, s := range sections {
		if s.path != "publish" {
			continue
		}
		for _, e := range s.entries {
			if kinds := fits[e.key]; kinds != nil && !slices.Contains(kinds, server) {
				l.errorf(e.pos, "config-value", "%s has no meaning with server = %q", e.key, server)
			}
		}
		if server == ServerCommand && l.Publish.Reload == nil {
			l.errorf(s.pos, "config-value", `server = "command" needs reload = ["program", ...]`)
		}
	}
	if server == ServerNSD && len(l.Publish.Address) == 0 {
		l.Publish.Address = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
	}
}

// addresses reads a list of server addresses.
func addresses(to *[]netip.AddrPort) func(value) error {
	return func(v value) error {
		list, err := v.strings()
		if err != nil {
			return err
		}
		var out []netip.AddrPort
		for _, s := range list {
			a, err := ParseAddress(s)
			if err != nil {
				return err
			}
			out = append(out, a)
		}
		*to = out
		return nil
	}
}

// ParseAddress reads IP, IP@PORT (as name servers write it), IPv4:PORT or
// [IPv6]:PORT. The port is 53 by default.
func ParseAddress(s string) (netip.AddrPort, error) {
	bad := fmt.Errorf("%q is no address such as 192.0.2.1, 192.0.2.1@5353 or [2001:db8::1]:53", s)
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, 53), nil
	}
	if host, port, ok := strings.Cut(s, "@"); ok {
		ip, err := netip.ParseAddr(host)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil || n == 0 {
			return netip.AddrPort{}, bad
		}
		return netip.AddrPortFrom(ip, uint16(n)), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, bad
	}
	return a, nil
}
