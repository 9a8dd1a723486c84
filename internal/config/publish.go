package config

import (
	"net/netip"
	"slices"
	"time"
)

// Kinds of name server.
const (
	ServerNone    = "none"
	ServerNSD     = "nsd"
	ServerCommand = "command"
)

// Publish says who is told of a new zone and asked whether it is served.
type Publish struct {
	Server         string
	Control        string           // nsd: its control socket
	Checkzone      string           // nsd: the program that judges a staged file; "" = none
	Pattern        string           // nsd: of zones that it does not know yet; "" = they are not added
	Address        []netip.AddrPort // where the server answers (nsd, command)
	Confirm        []netip.AddrPort // asked instead of a server (none)
	Timeout        time.Duration    // until the new serial must be served
	Check          []string         // command: argument lists
	Reload         []string
	ConfirmCommand []string
}

func defaultPublish() Publish {
	return Publish{Server: ServerNone, Control: "/run/nsd/nsd.ctl", Checkzone: "nsd-checkzone", Timeout: time.Minute}
}

func publishKeys(p *Publish) []key {
	return []key{
		{"server", oneOf(&p.Server, ServerNone, ServerNSD, ServerCommand)},
		{"timeout", duration(&p.Timeout, time.Second, time.Hour)},
		{"address", addresses(&p.Address)},
		{"confirm", addresses(&p.Confirm)},
		{"control", text(&p.Control)},
		{"checkzone", func(v value) error {
			s, err := v.str() // empty: do not check
			if err == nil {
				p.Checkzone = s
			}
			return err
		}},
		{"pattern", text(&p.Pattern)},
		{"check", argv(&p.Check)},
		{"reload", argv(&p.Reload)},
		{"confirm-command", argv(&p.ConfirmCommand)},
	}
}

// fits gives the kinds of server that have a use for a key; none for every kind.
func fits(key string) []string {
	switch key {
	case "control", "checkzone", "pattern":
		return []string{ServerNSD}
	case "address":
		return []string{ServerNSD, ServerCommand}
	case "confirm":
		return []string{ServerNone}
	case "check", "reload", "confirm-command":
		return []string{ServerCommand}
	}
	return nil
}

// loadPublish reads [publish]. It refuses keys that the chosen server has no
// use for: they would be believed in and do nothing.
func (l *loader) loadPublish(e *entry) {
	p, t, at := &l.Publish, e.val.table, e.at
	before := len(l.faults)
	l.read(t, "publish", publishKeys(p))
	sound := len(l.faults) == before
	if s := t.find("server"); s != nil {
		if s.val.text != p.Server {
			return // no kind that the keys could fit
		}
		at = s.at
	}
	for _, e := range t.entries {
		if kinds := fits(e.key); kinds != nil && !slices.Contains(kinds, p.Server) {
			l.errorf(e.at, "config-value", "%s has no meaning with server = %q", e.key, p.Server)
		}
	}
	switch {
	case p.Server == ServerCommand && sound && p.Reload == nil:
		l.errorf(at, "config-value", `server = "command" needs reload = ["program", ...]`)
	case p.Server == ServerCommand && sound && p.ConfirmCommand == nil && len(p.Address) == 0:
		l.errorf(at, "config-value", `server = "command" needs address = ["IP", ...] or confirm-command = ["program", ...]`)
	case p.Server == ServerNSD && len(p.Address) == 0:
		p.Address = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
	}
}
