// Package config reads zonebuild.toml, the only configuration of a data tree.
// It is strict: an unknown key, a wrong type or a value out of bounds is an
// error with its place, and one run reports them all. Without the file all
// defaults hold and the zones are the files in soa/.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// File is the name of the configuration in a tree.
const File = "zonebuild.toml"

// Config is what a tree's configuration says. All directories in Paths are
// ready to use; file names of zones are as they were written, relative to the
// tree.
type Config struct {
	Tree         string
	Zones        []Zone // sorted by name
	Default      Policy // [policy] itself
	Publish      Publish
	Paths        Paths
	Sources      map[string]Source
	OutputMode   os.FileMode
	OutputGroup  *int // gid
	AlarmCommand []string
	Resolver     []netip.AddrPort // asked for the DS at a parent; none = /etc/resolv.conf

	byName map[domain.Name]int
}

// Zone is one zone of the tree.
type Zone struct {
	Name    domain.Name
	SOA     string
	Primary []string
	DS      []string // what the parent has, for the first signed publish
	Policy  Policy
}

// Paths are the directories that the program writes to.
type Paths struct{ Keys, Unsigned, Signed, State string }

// Source says of soa, primary, dnsextra, certs or sshfp how to tell that it is
// mounted: its marker file is there.
type Source struct{ Path, Marker string }

// Kinds of name server.
const (
	ServerNone    = "none"
	ServerNSD     = "nsd"
	ServerCommand = "command"
)

// Publish says who is told of a new zone and asked whether it is served.
type Publish struct {
	Server         string
	Control        string
	Checkzone      string
	Pattern        string
	Address        []netip.AddrPort // where the server answers (nsd, command)
	Confirm        []netip.AddrPort // asked instead of a server (none)
	Timeout        time.Duration
	Check          []string
	Reload         []string
	ConfirmCommand []string
}

// Find is the zone of a name; nil if it is not in the tree.
func (c *Config) Find(n domain.Name) *Zone {
	if i, ok := c.byName[n]; ok {
		return &c.Zones[i]
	}
	return nil
}

// Load reads the configuration of the tree in a directory. The Config is whole
// only when the list has no error.
func Load(tree string) (*Config, diag.List) {
	c := &Config{Tree: tree, OutputMode: 0o644, Sources: map[string]Source{}, byName: map[domain.Name]int{}}
	c.Publish = Publish{Server: ServerNone, Control: "/run/nsd/nsd.ctl", Checkzone: "nsd-checkzone", Timeout: time.Minute}
	c.Paths = Paths{"keys", "unsigned", "signed", "state"}
	l := &loader{Config: c, policies: map[string]*Policy{}}
	src, err := os.ReadFile(filepath.Join(tree, File))
	switch {
	case err == nil:
		l.load(src)
	case !errors.Is(err, fs.ErrNotExist):
		l.faults.Errorf(diag.Pos{File: File}, "config-read", "", "read the configuration: %s", err)
	default:
		l.load(nil)
	}
	l.faults.Sort()
	return c, l.faults
}

// loader is the state of one Load.
type loader struct {
	*Config
	faults   diag.List
	policies map[string]*Policy
	zoneAt   map[domain.Name]diag.Pos
}

func (l *loader) errorf(pos diag.Pos, code, format string, args ...any) {
	l.faults.Errorf(pos, code, "", format, args...)
}

func (l *loader) load(src []byte) {
	sections, err := read(File, src)
	if err != nil {
		var se *syntaxError
		if errors.As(err, &se) {
			l.errorf(se.pos, "config-syntax", "%s", se.msg)
		}
		return
	}
	l.loadPolicies(sections)
	l.Default = *l.policies[""]
	listed := false
	for _, s := range sections {
		switch {
		case s.path == "zone" && s.array:
			listed = true
			l.loadZones(s)
		case s.path == "policy" || strings.HasPrefix(s.path, "policy."):
		case s.array:
			l.errorf(s.pos, "config-unknown", "unknown list of tables [[%s]]", s.path)
		case s.path == "publish":
			l.set(s, l.publishSetter)
		case s.path == "paths":
			l.set(s, l.pathSetter)
		case strings.HasPrefix(s.path, "source."):
			l.loadSource(s)
		case s.path == "":
			l.set(s, l.rootSetter)
		default:
			l.errorf(s.pos, "config-unknown", "unknown table [%s]", s.path)
		}
	}
	if !listed {
		l.zonesFromFiles()
	}
	l.checkPublish(sections)
	for _, p := range []*string{&l.Paths.Keys, &l.Paths.Unsigned, &l.Paths.Signed, &l.Paths.State} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(l.Tree, *p)
		}
	}
	slices.SortFunc(l.Zones, func(a, b Zone) int { return a.Name.Compare(b.Name) })
	for i := range l.Zones {
		l.byName[l.Zones[i].Name] = i
	}
}

// set reads each key of a section by its setter.
func (l *loader) set(s section, setter func(key string) func(value) error) {
	for _, e := range s.entries {
		l.setOne(s, e, setter(e.key))
	}
}

func (l *loader) setOne(s section, e entry, set func(value) error) {
	if set == nil {
		in := "here"
		if s.path != "" {
			in = "in [" + s.path + "]"
		}
		l.errorf(e.pos, "config-unknown", "unknown key %s %s", e.key, in)
		return
	}
	if err := set(e.val); err != nil {
		l.errorf(e.val.pos, "config-value", "%s: %s", e.key, err)
	}
}

func (l *loader) rootSetter(key string) func(value) error {
	switch key {
	case "output-mode":
		return func(v value) error {
			s, err := v.str()
			if err != nil {
				return err
			}
			n, err := strconv.ParseUint(s, 8, 32)
			if err != nil || n&^0o777 != 0 || n&0o600 != 0o600 || n&0o022 != 0 {
				return errors.New(`must be an octal mode such as "0644", writable by the owner alone`)
			}
			l.OutputMode = os.FileMode(n)
			return nil
		}
	case "output-group":
		return func(v value) error {
			s, err := v.str()
			if err != nil {
				return err
			}
			gid, err := strconv.Atoi(s)
			if err != nil {
				g, err := user.LookupGroup(s)
				if err != nil {
					return fmt.Errorf("there is no group %q", s)
				}
				if gid, err = strconv.Atoi(g.Gid); err != nil {
					return err
				}
			}
			l.OutputGroup = &gid
			return nil
		}
	case "alarm-command":
		return argv(&l.AlarmCommand)
	case "resolver":
		return addresses(&l.Resolver)
	}
	return nil
}

func (l *loader) pathSetter(key string) func(value) error {
	fields := map[string]*string{"keys": &l.Paths.Keys, "unsigned": &l.Paths.Unsigned, "signed": &l.Paths.Signed, "state": &l.Paths.State}
	if f := fields[key]; f != nil {
		return text(f)
	}
	return nil
}

func (l *loader) loadSource(s section) {
	name := strings.TrimPrefix(s.path, "source.")
	if !slices.Contains([]string{"soa", "primary", "dnsextra", "certs", "sshfp"}, name) {
		l.errorf(s.pos, "config-unknown", "unknown source %q", name)
		return
	}
	src := l.Sources[name]
	l.set(s, func(key string) func(value) error {
		switch key {
		case "path":
			return text(&src.Path)
		case "marker":
			return text(&src.Marker)
		}
		return nil
	})
	l.Sources[name] = src
}

func text(to *string) func(value) error {
	return func(v value) error {
		s, err := v.str()
		if err == nil && s == "" {
			err = errors.New("must not be empty")
		}
		if err == nil {
			*to = s
		}
		return err
	}
}

// argv reads a command as a list of arguments: never a shell string.
func argv(to *[]string) func(value) error {
	return func(v value) error {
		list, err := v.strings()
		if err != nil || len(list) == 0 || list[0] == "" {
			return errors.New(`must be a list: ["program", "argument", ...]`)
		}
		*to = list
		return nil
	}
}
