package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// HookFile is the name of acmehook's configuration.
const HookFile = "acmehook.toml"

// Hook is what acmehook.toml says. Without the file its defaults hold: the drop
// box dnsextra/, and any name.
type Hook struct {
	DropBox    string                      // ready to use
	Names      []domain.Name               // that may be proved, with what is below them; none = any
	Alias      map[domain.Name]domain.Name // name to prove → owner to write instead
	Lifetime   time.Duration               // until a challenge may be cleaned up
	Group      *int                        // of the files
	Servers    []netip.AddrPort            // asked instead of the zone's NS set
	Resolver   []netip.AddrPort            // none = /etc/resolv.conf
	Timeout    time.Duration
	DeadAfter  time.Duration
	MinServers int
	Report     string // of the builder; "" = none

	LinesDir string        // lines/, ready to use: generations of certificates
	KeysDir  string        // private keys
	StateDir string        // clocks, orders, the journal
	Anchors  string        // file of DS or DNSKEY; "" = the root's
	DNSSEC   bool          // what DNS says of TLSA must be secure
	TTLs     int           // that a next key's TLSA is served everywhere before the key is used
	Margin   time.Duration // added to these
	Account  *Account      // nil: none
	Lines    []Line        // in the order of the file
	Services []Service     // in the order of the file

	AlarmCommand []string // is told of alarms of lines; none: nobody is
}

// LoadHook reads the configuration in a directory. It is whole only when the list
// has no error.
func LoadHook(dir string) (*Hook, diag.List) {
	h := &Hook{
		DropBox: "dnsextra", Alias: map[domain.Name]domain.Name{}, Lifetime: 12 * time.Hour,
		Timeout: 10 * time.Minute, DeadAfter: 30 * time.Second, MinServers: 2,
		LinesDir: "lines", KeysDir: "keys", StateDir: "state", DNSSEC: true, TTLs: 2, Margin: 5 * time.Minute,
	}
	l := &loader{Config: &Config{Tree: dir}}
	defer l.faults.Sort()
	src, _, err := durable.ReadFile(filepath.Join(dir, HookFile), maxText)
	switch {
	case err == nil:
		root, fault := parse(HookFile, src)
		if fault != nil {
			l.errorf(fault.at, "config-syntax", "%s", fault.msg)
			break
		}
		rest := &table{}
		for _, e := range root.entries {
			if e.val.table == nil {
				rest.entries = append(rest.entries, e)
				continue
			}
			switch e.key {
			case "alias":
				l.loadAliases(h, e.val.table)
			case "account":
				l.loadAccount(h, e)
			case "line":
				l.loadEach(e, func(name string, e *entry) { l.loadLine(h, name, e) })
			case "service":
				l.loadEach(e, func(name string, e *entry) { l.loadService(h, name, e) })
			default:
				rest.entries = append(rest.entries, e)
			}
		}
		l.read(rest, "", hookKeys(h))
		l.checkLines(h, root)
	case !errors.Is(err, fs.ErrNotExist):
		l.errorf(diag.Pos{File: HookFile}, "config-read", "read the configuration: %s", cause(err))
	}
	h.DropBox = l.inTree(h.DropBox)
	l.place(&h.Report, &h.LinesDir, &h.KeysDir, &h.StateDir, &h.Anchors)
	l.placePrograms(h.AlarmCommand)
	if len(l.faults) == 0 {
		l.checkPlaces(h)
	}
	return h, l.faults
}

func hookKeys(h *Hook) []key {
	return []key{
		{"drop-box", localPath(&h.DropBox)},
		{"names", names(&h.Names)},
		{"lifetime", duration(&h.Lifetime, 10*time.Minute, 30*day)},
		{"group", func(v value) error {
			s, err := v.str()
			if err != nil {
				return err
			}
			gid, err := ParseGroup(s)
			if err == nil {
				h.Group = &gid
			}
			return err
		}},
		{"servers", addresses(&h.Servers)},
		{"resolver", addresses(&h.Resolver)},
		{"timeout", duration(&h.Timeout, time.Second, day)},
		{"dead-after", duration(&h.DeadAfter, time.Second, day)},
		{"min-servers", number(&h.MinServers, 1, 100)},
		{"report", localPath(&h.Report)},
		{"lines-dir", localPath(&h.LinesDir)},
		{"keys-dir", localPath(&h.KeysDir)},
		{"state-dir", localPath(&h.StateDir)},
		{"anchors", localPath(&h.Anchors)},
		{"dnssec", boolean(&h.DNSSEC)},
		{"ttls", number(&h.TTLs, 1, 10)},
		{"margin", duration(&h.Margin, 0, day)},
		{"alarm-command", argv(&h.AlarmCommand)},
	}
}

// loadAliases reads [alias]: where a CNAME at _acme-challenge leads.
func (l *loader) loadAliases(h *Hook, t *table) {
	for _, e := range t.entries {
		name, err := domain.Parse(e.key)
		if err != nil {
			l.errorf(e.at, "config-value", "alias %s", err)
			continue
		}
		l.set(e, func(v value) error {
			s, err := v.str()
			if err != nil {
				return err
			}
			owner, err := domain.Parse(s)
			if err == nil && owner == name {
				err = fmt.Errorf("%s is the name itself", owner)
			}
			h.Alias[name] = owner
			return err
		})
	}
}
